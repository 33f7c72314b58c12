export class CountView {
  constructor() {
    this.node = document.createElement("div");
  }
}
