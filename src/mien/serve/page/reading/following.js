// Find faces in frames that follow one another: the whole frame rarely, and around the last faces in between, as
// `mien/faces/following.py`.

const REGION_PX = 128;
const ROOM = 2.0;

export class Follower {
  /** @param every a whole frame is searched after so many. */
  constructor(detector, every) {
    this.detector = detector;
    this.every = every;
    this.last = null;
    this.since = 0;
  }

  /** The faces of the next frame, best score first. */
  async detect(image) {
    this.since += 1;
    let found = null;
    if (this.last && this.since < this.every && this.pays(image)) found = await this.around(image);
    if (!found) {
      found = await this.detector.detect(image);
      this.since = 0;
    }
    this.last = found;
    return found;
  }

  /** Whether the squares are less than half the pixels of a whole search. */
  pays(image) {
    return 2 * this.last.length * REGION_PX ** 2 < this.detector.pixels(image.height, image.width);
  }

  /** The same faces a frame later; `null` if one of them is not there or two are one. */
  async around(image) {
    const nearest = [];
    for (const { box } of this.last) {
      const side = ROOM * Math.max(box[2] - box[0], box[3] - box[1]);
      const centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
      const corner = centre.map((value) => value - side / 2);
      const found = await this.detector.searchSquare(image, corner, side, REGION_PX);
      if (!found.length) return null;
      const away = ({ box: b }) => Math.hypot((b[0] + b[2]) / 2 - centre[0], (b[1] + b[3]) / 2 - centre[1]) / side;
      const merit = found.map((face) => face.score - away(face));
      nearest.push(found[merit.indexOf(Math.max(...merit))]);
    }
    const merged = this.detector.merge(nearest);
    return merged.length === this.last.length ? merged : null;
  }
}
