export class FilesView {
  constructor() {
    this.node = document.createElement("div");
  }
}
