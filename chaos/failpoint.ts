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

interface Binding {
  readonly InferenceSession: new () => { run(...words: Array<unknown>): unknown }
}

/** Looks before each run whether it is to go wrong: `throw`, `hang`, `slow <ms>`. */
const harmModels = (file: string): void => {
  const runtime: { binding: Binding } = createRequire(import.meta.url)("onnxruntime-node/dist/binding.js")
  const { binding } = runtime
  class Harmed extends binding.InferenceSession {
    override run(...words: Array<unknown>) {
      const [what, millis] = existsSync(file) ? readFileSync(file, "utf8").trim().split(" ") : []
      if (what === "throw") throw new Error("the failpoint says so")
      if (what === "hang") block(Number.POSITIVE_INFINITY)
      if (what === "slow") block(Number(millis))
      return super.run(...words)
    }
  }
  // The native class can't be changed; whoever opens a session is given another one.
  runtime.binding = Object.create(binding, { InferenceSession: { value: Harmed } })
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
