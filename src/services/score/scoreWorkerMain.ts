// Entry of a scoring worker thread: opens the graphs it is given and answers one request at a time.
import { parentPort, workerData } from "node:worker_threads"
import { GraphSession } from "./GraphSession.ts"
import type { WorkerReply, WorkerRequest, WorkerStart } from "./workerMessages.ts"

const port = parentPort
if (port === null) throw new Error("scoreWorkerMain runs as a worker thread only")
const start = workerData as WorkerStart
const rows = new Float32Array(start.rows)
const energies = new Float32Array(start.energies)
// ONNX Runtime reads ordinary memory only.
const local = new Float32Array(rows.length)
const reply = (message: WorkerReply) => port.postMessage(message)
const detailOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))

const answer = (
  sessions: ReadonlyMap<string, GraphSession>,
  { id, role, step, count }: WorkerRequest
): WorkerReply => {
  const session = sessions.get(`${step}/${role}`)
  if (session === undefined) throw new Error(`no graph for ${step}/${role}`)
  const size = count * start.width
  local.set(rows.subarray(0, size))
  return role === "score"
    ? { kind: "scored", id, finite: session.score(local, count, energies) }
    : { kind: "explained", id, explanation: session.explain(local, count) }
}

const open = (): ReadonlyMap<string, GraphSession> | undefined => {
  try {
    return new Map(
      start.graphs.map(({ step, role, bytes }) => [
        `${step}/${role}`,
        GraphSession.open(bytes, start.width, role === "score" ? start.probe : undefined)
      ])
    )
  } catch (cause) {
    reply({ kind: "refused", detail: detailOf(cause) })
    return undefined
  }
}

const sessions = open()
if (sessions !== undefined) {
  port.on("message", (request: WorkerRequest) => {
    try {
      reply(answer(sessions, request))
    } catch (cause) {
      reply({ kind: "failed", id: request.id, detail: detailOf(cause) })
    }
  })
  reply({ kind: "ready" })
}
