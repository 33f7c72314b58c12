export class ReadersView {
  constructor() {
    this.node = document.createElement("div");
  }
}
