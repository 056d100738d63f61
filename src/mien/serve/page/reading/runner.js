// One expression network as its contract says, as `mien/methods/runner.py`.

import { imageToCrop, warp } from "./align.js";
import { LUMA } from "./quality.js";

export class ExpressionRunner {
  /**
   * @param contract labels, calibration, and preprocess with the template's five points in units of the crop's side.
   * @param run takes {data: Float32Array, dims} and gives the outputs by name, as flat arrays.
   */
  constructor(contract, run) {
    const { template_points: template, channel_order: order } = contract.preprocess ?? {};
    if (contract.task !== "expression" || !template || !["RGB", "BGR", "GREY"].includes(order)) {
      throw new Error("this network cannot be run in the browser");
    }
    this.labels = contract.labels;
    this.preprocess = contract.preprocess;
    this.calibration = contract.calibration;
    this.template = template;
    this.run = run;
  }

  /** The aligned crop of one face, and the share of it inside the picture. */
  crop(image, points) {
    const size = this.preprocess.size_px;
    return warp(image, imageToCrop(this.template, points, size), size);
  }

  /** Calibrated probabilities of each crop. */
  async probabilities(crops) {
    if (!crops.length) return [];
    const { size_px: size, mean } = this.preprocess;
    const data = new Float32Array(crops.length * mean.length * size * size);
    crops.forEach((crop, index) => this.fill(data.subarray(index * mean.length * size * size), crop));
    const outputs = await this.run({ data, dims: [crops.length, mean.length, size, size] });
    const [logits] = Object.values(outputs);
    const many = this.labels.length;
    return crops.map((_, index) => this.calibrated(logits.subarray(index * many, (index + 1) * many)));
  }

  /** Normalised planes in the contract's order of channels. */
  fill(target, crop) {
    const { channel_order: order, mean, std } = this.preprocess;
    const plane = crop.width * crop.height;
    for (let at = 0; at < plane; at++) {
      const [red, green, blue] = crop.data.subarray(4 * at, 4 * at + 3);
      const grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue;
      const values = order === "GREY" ? [grey] : order === "BGR" ? [blue, green, red] : [red, green, blue];
      values.forEach((value, channel) => {
        target[channel * plane + at] = (value - mean[channel]) / std[channel];
      });
    }
  }

  /** softmax(logits / temperature + bias). */
  calibrated(logits) {
    const { temperature, bias } = this.calibration;
    const scaled = Array.from(logits, (logit, k) => logit / temperature + (Array.isArray(bias) ? bias[k] : bias ?? 0));
    const top = Math.max(...scaled);
    const powers = scaled.map((value) => Math.exp(value - top));
    const sum = powers.reduce((total, power) => total + power, 0);
    return powers.map((power) => power / sum);
  }

  /** Whether the confidence lies under the contract's threshold. */
  uncertain(probabilities) {
    return Math.max(...probabilities) < this.calibration.threshold;
  }
}
