// Opens a model bundle for work on files: checked like any other, on this thread or in a worker by its cost.
import { Effect } from "effect"
import { defaultConfig } from "../runtime/Settings.ts"

/** The bundle in a folder, loaded; closed with the scope. */
export const openModel = (folder: string) =>
  Effect.gen(function* () {
    const { readBundle } = yield* Effect.promise(() => import("../model/ModelStore.ts"))
    const { OnnxScorer } = yield* Effect.promise(() => import("../score/OnnxScorer.ts"))
    const { Scorer } = yield* Effect.promise(() => import("../score/Scorer.ts"))
    const bundle = yield* readBundle(folder)
    return yield* Effect.flatMap(Scorer, (scorer) => scorer.load(bundle)).pipe(
      Effect.provide(
        OnnxScorer.layerWith({
          inlineCostMax: defaultConfig.score.inlineCostMax,
          batchRowsMax: defaultConfig.cell.batchEventsMax,
          // Nobody waits for a single batch of a file.
          workerTimeoutMillis: 60_000
        })
      )
    )
  })
