// The slider's place and the threshold.

// Thresholds crowd near 1: the slider runs on a stretched scale, its upper half is 0.8 to 1.
export const toScore = (place) => (place <= 0.5 ? 1.6 * place : 0.8 + 0.2 * (1 - (2 - 2 * place) ** 2));
export const toSlide = (score) => (score <= 0.8 ? score / 1.6 : 1 - Math.sqrt(Math.max(0, 1 - (score - 0.8) / 0.2)) / 2);
