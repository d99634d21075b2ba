// A small model trained on rows of two clusters, with a category and a missing value here and there.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import type { FeatureSpec } from "../../src/schema/model/FeatureSpec.ts"
import { makeRandom } from "../../src/services/train/random.ts"
import { trainStream } from "../../src/services/train/trainStream.ts"

/** A folder that is gone when the scope closes. */
export const temporaryFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "groundstate-test-"))),
  (dir) => Effect.sync(() => rmSync(dir, { recursive: true, force: true }))
)

export const smallFeatures: ReadonlyArray<FeatureSpec> = [
  { kind: "value", field: "a" },
  { kind: "value", field: "b" },
  { kind: "category", field: "colour" },
  { kind: "value", field: "constant" },
  { kind: "gap" }
]

/** count × 5: two clusters at ±4 in the first two columns; the category goes with the cluster. */
export const smallRows = (count: number, seed: number): Float32Array => {
  const random = makeRandom(seed)
  const rows = new Float32Array(count * 5)
  for (let row = 0; row < count; row++) {
    const side = random.below(2)
    rows[row * 5] = (side === 0 ? -4 : 4) + random.normal()
    rows[row * 5 + 1] = (side === 0 ? 4 : -4) + random.normal()
    rows[row * 5 + 2] = side
    rows[row * 5 + 3] = 7
    rows[row * 5 + 4] = random.uniform() < 0.05 ? Number.NaN : random.normal()
  }
  return rows
}

/** Trains and writes the bundle `model` in the folder; answers its path. */
export const writeSmallModel = (dir: string, seed = 1) =>
  trainStream({
    stream: "flows",
    output: join(dir, "model"),
    seed,
    rows: smallRows(2_000, 5),
    count: 2_000,
    features: smallFeatures,
    vocabularies: { colour: ["red", "blue", "green"] },
    population: { a: { mean: 0, variance: 17 } }
  }).pipe(Effect.map(() => join(dir, "model")))
