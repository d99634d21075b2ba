// Where this program starts, for processes that it starts itself.
import { fileURLToPath } from "node:url"

/** dist/main.js: the emitted JavaScript, also when this file itself runs from source. */
export const entryPoint: string = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../dist/main.js" : "../main.js", import.meta.url)
)
