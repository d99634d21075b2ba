// Loaded into a runner before its own code (`node --import`), never part of it: blocks its loop when it is told to, and
// makes the model fail. The folder in CHAOS_FAILPOINT holds the port to talk to, and a file that says how models behave.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { createServer } from "node:net"
import { join } from "node:path"
import { isMainThread } from "node:worker_threads"

const folder = process.env["CHAOS_FAILPOINT"]

const block = (millis: number): void => {
  const end = performance.now() + millis
  while (performance.now() < end);
}

interface BindingSession {
  readonly prototype: { run: (...words: Array<unknown>) => unknown }
}

/** Looks before each run whether it is to go wrong: `throw`, `hang`, `slow <ms>`. */
const harmModels = (file: string): void => {
  const { binding }: { binding?: { InferenceSession?: BindingSession } } = createRequire(import.meta.url)(
    "onnxruntime-node/dist/binding.js"
  )
  const prototype = binding?.InferenceSession?.prototype
  if (prototype === undefined) throw new Error("onnxruntime-node has no session to harm")
  const run = prototype.run
  prototype.run = function (...words) {
    const [what, millis] = existsSync(file) ? readFileSync(file, "utf8").trim().split(" ") : []
    if (what === "throw") throw new Error("the failpoint says so")
    if (what === "hang") block(Number.POSITIVE_INFINITY)
    if (what === "slow") block(Number(millis))
    return run.apply(this, words)
  }
}

if (folder !== undefined) {
  harmModels(join(folder, "model"))
  if (isMainThread) {
    const server = createServer((socket) => {
      socket.once("data", (chunk) => {
        socket.end("ok")
        const millis = Number(String(chunk))
        // The answer leaves first.
        socket.once("close", () => setImmediate(block, millis))
      })
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      if (typeof address === "object" && address !== null)
        writeFileSync(join(folder, "port"), String(address.port))
    })
    server.unref()
  }
}
