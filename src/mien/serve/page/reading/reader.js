// The whole reading of one picture: detect, align, judge, read the expression; as `mien/pipeline/analyzer.py`.

import { poseFromPoints } from "./pose.js";
import { reasonsAgainst } from "./quality.js";
import { ExpressionRunner } from "./runner.js";
import { YuNet } from "./yunet.js";

const PARALLEL = 64;

export class Reader {
  /** @param contracts of /models/contracts.json. @param detect, express run the two networks. */
  constructor(contracts, detect, express) {
    this.detector = new YuNet(detect);
    this.runner = new ExpressionRunner(contracts.expression, express);
    this.labels = this.runner.labels;
  }

  /** The faces of a picture {data, width, height}, best detection first; of the next frame of a camera with its follower. */
  async read(image, follower = null) {
    const found = await (follower ?? this.detector).detect(image);
    const cropped = found.map((face) => this.runner.crop(image, face.points));
    const probabilities = [];
    for (let start = 0; start < cropped.length; start += PARALLEL) {
      const some = cropped.slice(start, start + PARALLEL).map(({ crop }) => crop);
      probabilities.push(...(await this.runner.probabilities(some)));
    }
    return found.map((face, index) => {
      const pose = poseFromPoints(face.points);
      const { crop, inside } = cropped[index];
      return {
        ...face,
        pose,
        probabilities: probabilities[index],
        uncertain: this.runner.uncertain(probabilities[index]),
        reason: reasonsAgainst(crop, inside, face, pose),
      };
    });
  }
}
