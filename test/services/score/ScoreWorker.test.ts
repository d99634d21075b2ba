import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, TestClock } from "effect"
import { makeScoreWorker } from "../../../src/services/score/ScoreWorker.ts"
import { temporaryFolder } from "../../support/smallModel.ts"

/** A worker that doubles what it is given, hangs on a row of −1 and dies on one of −2. */
const script = `
import { parentPort, workerData } from "node:worker_threads"
const rows = new Float32Array(workerData.rows), energies = new Float32Array(workerData.energies)
parentPort.on("message", ({ id, count }) => {
  if (rows[0] === -1) return
  if (rows[0] === -2) process.exit(3)
  for (let at = 0; at < count; at++) energies[at] = 2 * rows[at]
  parentPort.postMessage({ kind: "scored", id, finite: true })
})
parentPort.postMessage({ kind: "ready" })
`

const open = (text = script) =>
  Effect.gen(function* () {
    const file = join(yield* temporaryFolder, "worker.mjs")
    writeFileSync(file, text)
    return yield* makeScoreWorker({
      model: "sha256:test",
      graphs: [],
      width: 1,
      probe: new Float32Array(0),
      timeoutMillis: 200,
      startTimeoutMillis: 5_000,
      replaceTimeoutMillis: 5_000,
      entry: pathToFileURL(file)
    })
  })

const scoreOne = (worker: Effect.Effect.Success<ReturnType<typeof open>>, value: number) => {
  const energies = new Float32Array(1)
  return worker.score("fast", Float32Array.of(value), 1, energies).pipe(Effect.map(() => energies[0]))
}

/** Asks until the successor answers; every refusal on the way must say that it is on its way. */
const untilReplaced = (worker: Effect.Effect.Success<ReturnType<typeof open>>) =>
  scoreOne(worker, 4).pipe(
    Effect.tapError((error) => Effect.sync(() => expect(error.detail).toBe("its worker is being replaced"))),
    Effect.tapError(() => Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))),
    Effect.retry(Schedule.recurs(1_000_000))
  )

describe("a scoring worker", () => {
  it.scopedLive("scores more rows than fit one run", () =>
    Effect.gen(function* () {
      const worker = yield* open()
      const rows = Float32Array.from({ length: 2_600 }, (_, at) => at)
      const energies = new Float32Array(2_600)
      yield* worker.score("fast", rows, 2_600, energies)
      expect(energies).toEqual(rows.map((value) => 2 * value))
    })
  )

  it.scoped("that does not answer in time is replaced", () =>
    Effect.gen(function* () {
      const worker = yield* open()
      const stuck = yield* Effect.fork(Effect.flip(scoreOne(worker, -1)))
      yield* Effect.yieldNow()
      yield* TestClock.adjust(200)
      expect(yield* Fiber.join(stuck)).toMatchObject({ reason: "timeout", detail: "no answer within 200 ms" })
      expect(yield* untilReplaced(worker)).toBe(8)
    })
  )

  it.scopedLive("that dies fails the batch and is replaced", () =>
    Effect.gen(function* () {
      const worker = yield* open()
      expect(yield* Effect.flip(scoreOne(worker, -2))).toMatchObject({
        reason: "failed",
        detail: "its worker ended with code 3"
      })
      expect(yield* untilReplaced(worker)).toBe(8)
    })
  )

  it.scopedLive("takes requests one at a time, each with its own answer", () =>
    Effect.gen(function* () {
      const worker = yield* open()
      const values = Array.from({ length: 40 }, (_, at) => at + 1)
      const answers = yield* Effect.forEach(values, (value) => scoreOne(worker, value), {
        concurrency: "unbounded"
      })
      expect(answers).toEqual(values.map((value) => 2 * value))
    })
  )

  it.scopedLive("that cannot start refuses the model", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(open("throw new Error('no such library')"))
      expect(error).toMatchObject({ _tag: "ModelRefused", reason: "will-not-load" })
      expect(error.detail).toContain("no such library")
    })
  )
})
