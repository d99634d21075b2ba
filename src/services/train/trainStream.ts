// Trains a model for a stream on feature rows that its cells have made, and writes the bundle.
import { Clock, Effect } from "effect"
import { TableRefused } from "../../schema/error/TrainError.ts"
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import { PlaceTaken, writeBundle } from "./bundle.ts"
import type { InputColumn } from "./encoder.ts"
import { plainGrain } from "./prototypes.ts"
import { type TrainOptions, type TrainPhase, trainDefaults, trainModel } from "./trainModel.ts"
import { asTableRefused } from "./trainTable.ts"

export interface TrainStreamOptions {
  readonly stream: string
  readonly output: string
  readonly name?: string | undefined
  readonly seed?: number | undefined
  /** count × features.length, row-major: NaN is missing, categories are positions (−1 unseen, −2 missing). */
  readonly rows: Float32Array
  readonly count: number
  readonly features: ReadonlyArray<FeatureSpec>
  readonly vocabularies: Manifest["vocabularies"]
  readonly population: Manifest["population"]
  /** Events that gave no row (late, rejected). */
  readonly skipped?: number | undefined
  /** Share of suspect rows to leave out; 0.1 by default. */
  readonly trim?: number | undefined
  /** Most prototypes; 512 by default. Fewer cost less per event. */
  readonly prototypesMax?: number | undefined
  /** `fast`, the default: the first stage alone, which a runner can train in a second; `full`: the fusion as well. */
  readonly energy?: TrainOptions["energy"] | undefined
  readonly progress?: ((phase: TrainPhase, done: number, total: number) => void) | undefined
}

export interface TrainStreamSummary {
  readonly digest: string
  readonly output: string
  readonly rows: number
  readonly trimmed: number
  readonly prototypes: number
  readonly heldBack: number
  readonly seconds: number
}

const ROWS_MIN = 20
const PROTOTYPES_MAX = 512
const FIT_ROWS_MAX = 17_000

/** Least spread of features whose unit is known: deviations for residuals, nats for rarities, logarithms for the rest. */
const spreadMins: Readonly<Partial<Record<FeatureSpec["kind"], number>>> = {
  residual: 1,
  drift: 0.5,
  surprise: 1,
  gap: 0.25,
  window: 0.25,
  stuck: 0.35
}

/** The stage before has scaled numbers, so none takes a logarithm here. */
const inputOf = (feature: FeatureSpec): InputColumn => {
  const spreadMin = spreadMins[feature.kind]
  return {
    kind: feature.kind === "category" ? "category" : "number",
    log: false,
    ...(spreadMin === undefined ? {} : { spreadMin })
  }
}

/** Trains on a stream's feature rows and writes a bundle. Same rows, same seed, same graphs. */
export const trainStream = (options: TrainStreamOptions): Effect.Effect<TrainStreamSummary, TableRefused> =>
  Effect.gen(function* () {
    const { stream, count, features } = options
    const input = `stream ${stream}`
    if (count < ROWS_MIN) {
      return yield* new TableRefused({
        input,
        reason: count === 0 ? "no-rows" : "too-few-rows",
        detail: `${count} events are no sample to learn from (at least ${ROWS_MIN} are needed)`,
        advice: "let more events arrive, then train again"
      })
    }
    const startedAt = yield* Clock.currentTimeMillis
    const seed = options.seed ?? trainDefaults.seed
    const table = { rows: options.rows.subarray(0, count * features.length), count, width: features.length }
    const trained = yield* Effect.tryPromise({
      try: (signal) =>
        trainModel(table, features.map(inputOf), {
          ...trainDefaults,
          seed,
          trim: options.trim ?? trainDefaults.trim,
          grain: plainGrain(options.prototypesMax ?? PROTOTYPES_MAX),
          energy: options.energy ?? "fast",
          fitRowsMax: FIT_ROWS_MAX,
          signal,
          progress: options.progress
        }),
      catch: (cause) => asTableRefused(input, cause)
    })
    const endedAt = yield* Clock.currentTimeMillis
    const seconds = (endedAt - startedAt) / 1000
    const digest = yield* Effect.tryPromise({
      try: () =>
        writeBundle(options.output, {
          name: options.name ?? stream,
          createdAt: new Date(endedAt).toISOString(),
          seconds,
          seed,
          input: { kind: "stream", stream },
          features,
          vocabularies: options.vocabularies,
          population: options.population,
          rows: count,
          skipped: options.skipped ?? 0,
          trained
        }),
      catch: (cause) =>
        new TableRefused({
          input: options.output,
          reason: "output",
          detail:
            cause instanceof PlaceTaken
              ? cause.message
              : `it cannot be written (${(cause as Error).message})`,
          advice: "name another output folder"
        })
    })
    const { trimmed, prototypes, heldBack } = trained
    return { digest, output: options.output, rows: count, trimmed, prototypes, heldBack, seconds }
  }).pipe(Effect.withSpan("train.stream", { attributes: { stream: options.stream } }))
