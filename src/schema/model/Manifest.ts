// What a model bundle says of itself: `manifest.json`, beside the ONNX graphs that it names by digest.
import { Schema } from "effect"
import { Reference } from "./Drift.ts"
import { FeatureSpec } from "./FeatureSpec.ts"

const Sha256 = Schema.String.pipe(Schema.pattern(/^[0-9a-f]{64}$/))

/** A file of the bundle: a plain name (no folders), its length and SHA-256. */
export const BundleFile = Schema.Struct({
  name: Schema.String.pipe(Schema.pattern(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,100}$/)),
  bytes: Schema.NonNegativeInt,
  sha256: Sha256
})

/**
 * Conformal calibration of one graph's energies on rows held back from fitting.
 * `energies` ascend. p = (1 + #{energies ≥ e}) / (n + 1) is counted up to the highest of them but one in a
 * thousand. From there on it falls as a generalised Pareto tail does, (1 + shape · y / scale)^(−1/shape) with y =
 * energy − `tailFrom` (Pickands 1975; exponential at shape 0).
 */
export const Calibration = Schema.Struct({
  energies: Schema.Array(Schema.Number),
  tailFrom: Schema.Number,
  tailScale: Schema.Number,
  tailShape: Schema.Number
})
export type Calibration = typeof Calibration.Type

/**
 * One energy of the model. `score` graph: input `rows` float32 [n, width], output `energy` float32 [n], nats.
 * `explain` graph: the same input; outputs `energy` [n], `contributions` [n, width] (nats, summing to the
 * energy above the calibration median), `expected` [n, width] (the value the model expected, in the
 * feature's own unit), `prototype` int64 [n].
 */
export const EnergyGraph = Schema.Struct({
  step: Schema.Literal("deep", "fast"),
  score: Schema.String,
  explain: Schema.optional(Schema.String),
  calibration: Calibration,
  /**
   * Of the deep energy, where the bundle has a fast one too: the calibration row of `energies[i]` has the fast
   * calibration's `energies[firstStage[i]]`. Two stages are calibrated by it; bundles made before have none.
   */
  firstStage: Schema.optional(Schema.Array(Schema.NonNegativeInt)),
  /** Multiply-adds per row; above the declared limit the graph runs in a worker thread. */
  costPerRow: Schema.NonNegativeInt
})
export type EnergyGraph = typeof EnergyGraph.Type

/** How an input column of a table is read (`train` without a stream definition). */
export const TableColumn = Schema.Struct({
  name: Schema.String,
  type: Schema.Literal("number", "category", "ignored"),
  log: Schema.Boolean
})
export type TableColumn = typeof TableColumn.Type

export const Manifest = Schema.Struct({
  /** Version 2 has a reference; a bundle of version 1 serves as well, but nobody can tell whether it has aged. */
  format: Schema.Literal("groundstate-model/1", "groundstate-model/2"),
  name: Schema.String,
  /** RFC 3339; when training ended. Not part of any decision. */
  createdAt: Schema.String,
  seed: Schema.Int,
  /** `stream`: rows come from a cell's state; `table`: from the columns of one row alone. */
  input: Schema.Union(
    Schema.Struct({ kind: Schema.Literal("stream"), stream: Schema.String }),
    Schema.Struct({ kind: Schema.Literal("table"), columns: Schema.Array(TableColumn) })
  ),
  features: Schema.Array(FeatureSpec).pipe(Schema.minItems(1), Schema.maxItems(16_384)),
  /** Values of each categorical field that the model has a column for. */
  vocabularies: Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }),
  /** Population mean and variance per signal: what a device without a past is held against. */
  population: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({
      mean: Schema.Number,
      variance: Schema.Number,
      /** Of one device about its own mean; the whole variance where nobody knows. */
      within: Schema.optional(Schema.Number)
    })
  }),
  reference: Schema.optional(Reference),
  graphs: Schema.Array(EnergyGraph).pipe(Schema.minItems(1), Schema.maxItems(4)),
  training: Schema.Struct({
    rows: Schema.NonNegativeInt,
    heldBack: Schema.NonNegativeInt,
    skipped: Schema.NonNegativeInt,
    seconds: Schema.Number,
    prototypes: Schema.NonNegativeInt
  }),
  /** Rows with their energies by the first graph (4 × width, then 4), checked when the bundle is admitted. */
  golden: Schema.Struct({
    rows: Schema.Array(Schema.Array(Schema.NullOr(Schema.Number))),
    energies: Schema.Array(Schema.Number)
  }),
  files: Schema.Array(BundleFile)
})
export type Manifest = typeof Manifest.Type

/** The step that judges best of those a model has: `deep`, or where it has none `fast`. */
export const deepestStep = ({ graphs }: Pick<Manifest, "graphs">): EnergyGraph["step"] =>
  graphs.some(({ step }) => step === "deep") ? "deep" : "fast"

/** A bundle read once and checked: the bytes that were hashed are the bytes that are loaded. */
export interface ModelBundle {
  /** `sha256:` and the hash of manifest.json's bytes. */
  readonly digest: string
  readonly manifest: Manifest
  /** Contents by file name, without manifest.json. */
  readonly files: ReadonlyMap<string, Uint8Array>
}

/** Limits of a bundle; one that breaks them is refused before any graph is opened. */
export const bundleLimits = {
  manifestBytesMax: 16 * 1024 * 1024,
  fileBytesMax: 512 * 1024 * 1024,
  filesMax: 16
} as const
