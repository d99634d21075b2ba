// Scores with ONNX Runtime on the CPU: small models on this thread, others in a worker thread of their own.
import { Effect, Layer, type Scope } from "effect"
import { ModelRefused, ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type { ModelBundle } from "../../schema/model/Manifest.ts"
import { Settings } from "../runtime/Settings.ts"
import { type Explained, GraphSession, probeRows } from "./GraphSession.ts"
import { type LoadedModel, type RowExplanation, Scorer } from "./Scorer.ts"
import { makeScoreWorker, nonFinite } from "./ScoreWorker.ts"
import type { WorkerGraph } from "./workerMessages.ts"

export interface OnnxScorerOptions {
  /** Multiply-adds of one full batch above which a model runs in a worker. */
  readonly inlineCostMax: number
  /** Rows of a full batch. */
  readonly batchRowsMax: number
  /** For one run of up to 1,024 rows in a worker. */
  readonly workerTimeoutMillis: number
  /** `auto` goes by cost. */
  readonly placement?: "auto" | "inline" | "worker"
}

/** A graph may take this long to open in a worker; ONNX Runtime takes about a second for 100 MB. */
const START_TIMEOUT_MILLIS = 30_000
const REPLACE_TIMEOUT_MILLIS = 10_000
/** Golden energies may differ by this much, absolutely up to 1 nat, beyond it relative to the energy. */
const GOLDEN_TOLERANCE = 1e-4

type Step = "deep" | "fast"

const graphsOf = ({ manifest, files }: ModelBundle): ReadonlyArray<WorkerGraph> =>
  manifest.graphs.flatMap(({ step, score, explain }) => [
    { step, role: "score" as const, bytes: files.get(score) as Uint8Array },
    ...(explain === undefined
      ? []
      : [{ step, role: "explain" as const, bytes: files.get(explain) as Uint8Array }])
  ])

interface Placed {
  readonly score: LoadedModel["score"]
  readonly scoreNow?: LoadedModel["scoreNow"]
  readonly explain: (
    step: Step,
    rows: Float32Array,
    count: number
  ) => Effect.Effect<ReadonlyArray<Explained>, ScorerUnavailable>
}

const detailOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause))

const openInline = (
  bundle: ModelBundle,
  width: number,
  probe: Float32Array
): Effect.Effect<Placed, ModelRefused, Scope.Scope> =>
  Effect.gen(function* () {
    const model = bundle.digest
    const sessions = new Map<string, GraphSession>()
    for (const { step, role, bytes } of graphsOf(bundle)) {
      const session = yield* Effect.acquireRelease(
        Effect.try({
          try: () => GraphSession.open(bytes, width, role === "score" ? probe : undefined),
          catch: (cause) => new ModelRefused({ model, reason: "will-not-load", detail: detailOf(cause) })
        }),
        (opened) => Effect.ignore(Effect.try(() => opened.release()))
      )
      sessions.set(`${step}/${role}`, session)
    }
    const failed = (cause: unknown) =>
      new ScorerUnavailable({ model, reason: "failed", detail: detailOf(cause) })
    const missing = failed("it has no such graph")
    const scoreNow: NonNullable<LoadedModel["scoreNow"]> = (step, rows, count, energies) => {
      const session = sessions.get(`${step}/score`)
      if (session === undefined) return missing
      try {
        return session.score(rows, count, energies) ? undefined : nonFinite(model)
      } catch (cause) {
        return failed(cause)
      }
    }
    return {
      scoreNow,
      score: (step, rows, count, energies) =>
        Effect.suspend(() => {
          const error = scoreNow(step, rows, count, energies)
          return error === undefined ? Effect.void : Effect.fail(error)
        }),
      explain: (step, rows, count) => {
        const session = sessions.get(`${step}/explain`)
        if (session === undefined) return Effect.fail(missing)
        return Effect.try({ try: () => [session.explain(rows, count)], catch: failed })
      }
    }
  })

const openWorker = (bundle: ModelBundle, width: number, probe: Float32Array, timeoutMillis: number) =>
  makeScoreWorker({
    model: bundle.digest,
    graphs: graphsOf(bundle),
    width,
    probe,
    timeoutMillis,
    startTimeoutMillis: START_TIMEOUT_MILLIS,
    replaceTimeoutMillis: REPLACE_TIMEOUT_MILLIS
  })

/** Runs the bundle's golden rows and compares; only the first graph's energies are in the manifest. */
const checkGolden = (
  { digest, manifest }: ModelBundle,
  placed: Placed,
  width: number
): Effect.Effect<void, ModelRefused> =>
  Effect.gen(function* () {
    const { rows, energies } = manifest.golden
    const refuse = (detail: string) => new ModelRefused({ model: digest, reason: "golden-mismatch", detail })
    const table = Float32Array.from(rows.flat(), (value) => value ?? Number.NaN)
    if (table.length !== rows.length * width)
      return yield* refuse("golden rows do not have the features' width")
    const found = new Float32Array(rows.length)
    yield* placed
      .score(manifest.graphs[0].step, table, rows.length, found)
      .pipe(Effect.mapError((error) => refuse(error.detail)))
    const off = energies.findIndex(
      (energy, row) => !(Math.abs(found[row] - energy) <= GOLDEN_TOLERANCE * Math.max(1, Math.abs(energy)))
    )
    if (off >= 0)
      return yield* refuse(
        `golden row ${off} has energy ${found[off]} here, ${energies[off]} where it was trained`
      )
  })

const load = (
  bundle: ModelBundle,
  options: OnnxScorerOptions
): Effect.Effect<LoadedModel, ModelRefused, Scope.Scope> =>
  Effect.gen(function* () {
    const { digest, manifest } = bundle
    const width = manifest.features.length
    const lacking = manifest.graphs
      .flatMap((graph) => [graph.score, ...(graph.explain === undefined ? [] : [graph.explain])])
      .find((name) => !bundle.files.has(name))
    if (lacking !== undefined) {
      return yield* new ModelRefused({
        model: digest,
        reason: "missing-file",
        detail: `${lacking} is not in the bundle`
      })
    }
    const cost = Math.max(...manifest.graphs.map((graph) => graph.costPerRow)) * options.batchRowsMax
    const wanted = options.placement ?? "auto"
    const placement = wanted !== "auto" ? wanted : cost <= options.inlineCostMax ? "inline" : "worker"
    const probe = probeRows(manifest.golden.rows, width)
    const placed: Placed =
      placement === "inline"
        ? yield* openInline(bundle, width, probe)
        : yield* openWorker(bundle, width, probe, options.workerTimeoutMillis)
    yield* checkGolden(bundle, placed, width)
    let open = true
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        open = false
      })
    )
    const gone = () =>
      new ScorerUnavailable({ model: digest, reason: "closed", detail: "the model was closed" })
    const closed = Effect.suspend(() => Effect.fail(gone()))
    const { scoreNow } = placed
    const model: LoadedModel = {
      digest,
      manifest,
      width,
      placement,
      steps: manifest.graphs.map((graph) => graph.step),
      ...(scoreNow === undefined
        ? {}
        : {
            scoreNow: (step, rows, count, energies) =>
              !open ? gone() : count === 0 ? undefined : scoreNow(step, rows, count, energies)
          }),
      score: (step, rows, count, energies) =>
        Effect.suspend(() =>
          !open ? closed : count === 0 ? Effect.void : placed.score(step, rows, count, energies)
        ),
      explain: (step, rows, count) =>
        Effect.suspend(() =>
          !open
            ? closed
            : count === 0
              ? Effect.succeed([])
              : Effect.map(placed.explain(step, rows, count), (runs) =>
                  runs.flatMap((run) => rowsOf(run, width))
                )
        )
    }
    return model
  }).pipe(Effect.withSpan("score.load", { attributes: { model: bundle.digest } }))

const rowsOf = (run: Explained, width: number): ReadonlyArray<RowExplanation> =>
  Array.from(run.energy, (energy, row) => ({
    energy,
    contributions: run.contributions.slice(row * width, (row + 1) * width),
    expected: run.expected.slice(row * width, (row + 1) * width),
    prototype: run.prototype[row]
  }))

/** A scorer with bounds of one's own. */
export const layerWith = (options: OnnxScorerOptions): Layer.Layer<Scorer> =>
  Layer.succeed(Scorer, { load: (bundle) => load(bundle, options) })

/** The scorer with the runner's bounds. */
export const layer: Layer.Layer<Scorer, never, Settings> = Layer.effect(
  Scorer,
  Effect.map(Settings, ({ score, cell }) => ({
    load: (bundle: ModelBundle) =>
      load(bundle, {
        inlineCostMax: score.inlineCostMax,
        batchRowsMax: cell.batchEventsMax,
        workerTimeoutMillis: score.workerTimeout
      })
  }))
)

/** Both layers under the module's name, for those who import it by name. */
export const OnnxScorer = { layer, layerWith } as const
