// A worker thread that scores, with a time limit; one that hangs or dies is thrown away and replaced.
import { Worker } from "node:worker_threads"
import { Deferred, Effect, Exit, FiberId, type Scope } from "effect"
import { ModelRefused, ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type {
  WorkerExplanation,
  WorkerGraph,
  WorkerReply,
  WorkerRequest,
  WorkerStart
} from "./workerMessages.ts"

export interface ScoreWorkerOptions {
  /** Digest, for messages. */
  readonly model: string
  readonly graphs: ReadonlyArray<WorkerGraph>
  readonly width: number
  readonly probe: Float32Array
  /** For one request of up to 1,024 rows, from its turn on. */
  readonly timeoutMillis: number
  readonly startTimeoutMillis: number
  /** For one that takes the place of another: what fits here has been seen to start. */
  readonly replaceTimeoutMillis: number
  /** JavaScript of the worker. */
  readonly entry?: URL
}

type Step = "deep" | "fast"

export interface ScoreWorker {
  readonly score: (
    step: Step,
    rows: Float32Array,
    count: number,
    energies: Float32Array
  ) => Effect.Effect<void, ScorerUnavailable>
  readonly explain: (
    step: Step,
    rows: Float32Array,
    count: number
  ) => Effect.Effect<ReadonlyArray<WorkerExplanation>, ScorerUnavailable>
}

const CAPACITY = 1024
/** Threads told to end that have not: stuck in native code, where nothing can reach them. */
const STUCK_MAX = 3

/** Worker threads run the emitted JavaScript, also where this file is run from its TypeScript source. */
const builtEntry = () =>
  import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/services/score/scoreWorkerMain.js", import.meta.url)
    : new URL("./scoreWorkerMain.js", import.meta.url)

interface Running {
  readonly worker: Worker
  /** Settled by the next reply, or by the thread's end. */
  waiting: Deferred.Deferred<WorkerReply, string> | undefined
}

/**
 * Starts a worker and keeps one alive while the scope is open. Requests are taken one at a time, in order.
 * While a replacement starts, requests fail at once: the ladder has another rung, a batch should not wait.
 */
export const makeScoreWorker = (
  options: ScoreWorkerOptions
): Effect.Effect<ScoreWorker, ModelRefused, Scope.Scope> =>
  Effect.gen(function* () {
    const { model, width } = options
    const shared = {
      rows: new SharedArrayBuffer(CAPACITY * width * 4),
      energies: new SharedArrayBuffer(CAPACITY * 4)
    }
    const scope = yield* Effect.scope
    const turn = yield* Effect.makeSemaphore(1)
    const state: { running: Running | undefined; starting: boolean; stuck: number; closed: boolean } = {
      running: undefined,
      starting: false,
      stuck: 0,
      closed: false
    }
    let memory = shared
    let nextId = 0

    const unavailable = (reason: ScorerUnavailable["reason"], detail: string) =>
      new ScorerUnavailable({ model, reason, detail })

    const discard = (running: Running) => {
      if (state.running === running) state.running = undefined
      // What a stuck thread may still write must not reach its successor's memory.
      memory = {
        rows: new SharedArrayBuffer(CAPACITY * width * 4),
        energies: new SharedArrayBuffer(CAPACITY * 4)
      }
      state.stuck++
      running.worker.terminate().finally(() => {
        state.stuck--
      })
    }

    const start = (timeoutMillis: number): Effect.Effect<Running, ModelRefused> =>
      Effect.gen(function* () {
        const replied = yield* Deferred.make<WorkerReply, string>()
        const workerData: WorkerStart = {
          graphs: options.graphs,
          width,
          capacity: CAPACITY,
          rows: memory.rows,
          energies: memory.energies,
          probe: options.probe
        }
        const running: Running = {
          worker: new Worker(options.entry ?? builtEntry(), { workerData }),
          waiting: replied
        }
        const settle = (exit: Exit.Exit<WorkerReply, string>) => {
          const waiting = running.waiting
          running.waiting = undefined
          if (waiting !== undefined) Deferred.unsafeDone(waiting, exit)
        }
        running.worker.on("message", (message: WorkerReply) => settle(Exit.succeed(message)))
        const ended = (detail: string) => {
          if (state.running === running) state.running = undefined
          settle(Exit.fail(detail))
        }
        running.worker.on("error", (cause) => ended(`its worker died (${cause.message})`))
        running.worker.on("exit", (code) => ended(`its worker ended with code ${code}`))
        running.worker.unref()
        const refuse = (detail: string) => {
          discard(running)
          return new ModelRefused({ model, reason: "will-not-load", detail })
        }
        const first = yield* Deferred.await(replied).pipe(
          Effect.timeoutFail({
            duration: timeoutMillis,
            onTimeout: () => `its worker did not start within ${timeoutMillis} ms`
          }),
          Effect.mapError(refuse),
          Effect.onInterrupt(() => Effect.sync(() => discard(running)))
        )
        if (first.kind === "ready") return running
        return yield* refuse(
          first.kind === "refused" ? first.detail : `its worker said ${first.kind} before it was ready`
        )
      })

    /** Starts a successor in the background, one at a time; a failure is tried again at the next request. */
    const replace = Effect.suspend(() => {
      if (state.starting || state.closed || state.running !== undefined || state.stuck > STUCK_MAX)
        return Effect.void
      state.starting = true
      return start(options.replaceTimeoutMillis).pipe(
        Effect.tap((running) =>
          Effect.sync(() => {
            if (state.closed) discard(running)
            else state.running = running
          })
        ),
        Effect.ensuring(
          Effect.sync(() => {
            state.starting = false
          })
        ),
        Effect.ignore,
        Effect.forkIn(scope),
        Effect.asVoid
      )
    })

    const ask = (request: WorkerRequest): Effect.Effect<WorkerReply, ScorerUnavailable> =>
      Effect.suspend(() => {
        const running = state.running
        if (state.closed) return Effect.fail(unavailable("closed", "the model was closed"))
        if (running === undefined) {
          const detail =
            state.stuck > STUCK_MAX ? `${state.stuck} of its workers hang` : "its worker is being replaced"
          return Effect.zipRight(replace, Effect.fail(unavailable("replacing", detail)))
        }
        const waiting = Deferred.unsafeMake<WorkerReply, string>(FiberId.none)
        running.waiting = waiting
        running.worker.postMessage(request)
        return Deferred.await(waiting).pipe(
          Effect.mapError((detail) => unavailable("failed", detail)),
          Effect.timeoutFail({
            duration: options.timeoutMillis,
            onTimeout: () => unavailable("timeout", `no answer within ${options.timeoutMillis} ms`)
          }),
          Effect.tapError(() =>
            Effect.zipRight(
              Effect.sync(() => discard(running)),
              replace
            )
          ),
          // A caller that goes away leaves an answer under way that the next request must not take for its own.
          Effect.onInterrupt(() =>
            Effect.zipRight(
              Effect.sync(() => discard(running)),
              replace
            )
          )
        )
      })

    const eachRun = <A>(
      role: WorkerRequest["role"],
      step: Step,
      rows: Float32Array,
      count: number,
      take: (reply: WorkerReply, from: number, size: number) => Effect.Effect<A, ScorerUnavailable>
    ): Effect.Effect<Array<A>, ScorerUnavailable> =>
      turn.withPermits(1)(
        Effect.gen(function* () {
          const taken: Array<A> = []
          for (let from = 0; from < count; from += CAPACITY) {
            const size = Math.min(CAPACITY, count - from)
            new Float32Array(memory.rows).set(rows.subarray(from * width, (from + size) * width))
            const reply = yield* ask({ id: nextId++, role, step, count: size })
            if (reply.kind === "failed") return yield* unavailable("failed", reply.detail)
            taken.push(yield* take(reply, from, size))
          }
          return taken
        })
      )

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        state.closed = true
        if (state.running !== undefined) discard(state.running)
      })
    )
    state.running = yield* start(options.startTimeoutMillis)

    return {
      score: (step, rows, count, energies) =>
        Effect.asVoid(
          eachRun("score", step, rows, count, (reply, from, size) =>
            Effect.suspend(() => {
              if (reply.kind !== "scored" || !reply.finite) return Effect.fail(nonFinite(model))
              energies.set(new Float32Array(memory.energies, 0, size), from)
              return Effect.void
            })
          )
        ),
      explain: (step, rows, count) =>
        eachRun("explain", step, rows, count, (reply) =>
          reply.kind === "explained"
            ? Effect.succeed(reply.explanation)
            : Effect.fail(unavailable("failed", `its worker answered ${reply.kind}`))
        )
    }
  })

/** The error of a batch in which some energy is no number. */
export const nonFinite = (model: string): ScorerUnavailable =>
  new ScorerUnavailable({ model, reason: "non-finite", detail: "an energy is infinite or no number" })
