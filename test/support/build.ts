// Builds dist/ once before the suite: worker threads and child processes run the emitted JavaScript.
import { execFileSync } from "node:child_process"

export default () => {
  execFileSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" })
}
