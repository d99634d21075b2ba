// The port to a model that turns feature rows into energies.
import { Context, type Effect, type Scope } from "effect"
import type { ModelRefused, ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type { Manifest, ModelBundle } from "../../schema/model/Manifest.ts"

export type { ModelBundle } from "../../schema/model/Manifest.ts"

/** What one row's explanation says; arrays have the width of the feature row. */
export interface RowExplanation {
  readonly energy: number
  readonly contributions: Float32Array
  readonly expected: Float32Array
  readonly prototype: number
}

export interface LoadedModel {
  readonly digest: string
  readonly manifest: Manifest
  readonly width: number
  /** Where it runs. */
  readonly placement: "inline" | "worker"
  /** Steps the bundle has graphs for. */
  readonly steps: ReadonlyArray<"deep" | "fast">
  /**
   * rows: count × width, row-major. Writes `count` energies, in nats; lower is more normal. A row's energy
   * has the same bits whatever batch it comes in. Fails on a time-out, an error, or a non-finite energy.
   */
  readonly score: (
    step: "deep" | "fast",
    rows: Float32Array,
    count: number,
    energies: Float32Array
  ) => Effect.Effect<void, ScorerUnavailable>
  /** The same at once, answering what went wrong; only where the model runs on this thread. */
  readonly scoreNow?:
    | ((
        step: "deep" | "fast",
        rows: Float32Array,
        count: number,
        energies: Float32Array
      ) => ScorerUnavailable | undefined)
    | undefined
  /** rows: count × width; one explanation per row. */
  readonly explain: (
    step: "deep" | "fast",
    rows: Float32Array,
    count: number
  ) => Effect.Effect<ReadonlyArray<RowExplanation>, ScorerUnavailable>
}

/** Opens admitted bundles. */
export class Scorer extends Context.Tag("groundstate/services/score/Scorer")<
  Scorer,
  {
    readonly load: (bundle: ModelBundle) => Effect.Effect<LoadedModel, ModelRefused, Scope.Scope>
  }
>() {}
