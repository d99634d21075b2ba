// Opens a model bundle for work on files: checked like any other, on this thread or in a worker by its cost.
import { Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import { deepestStep, type EnergyGraph } from "../../schema/model/Manifest.ts"
import { defaultConfig } from "../runtime/Settings.ts"
import type { LoadedModel } from "../score/Scorer.ts"
import { optionalChoiceFlag } from "./inputs.ts"

/** `--step` of what judges tables. */
export const stepFlag = optionalChoiceFlag("step", {
  about: "which energy judges: the fusion or the first stage; the deepest that the model has without it",
  choices: ["deep", "fast"]
})

/** The step asked for, or the model's deepest. */
export const stepOf = (model: LoadedModel, asked: EnergyGraph["step"] | undefined) =>
  asked === undefined
    ? Effect.succeed(deepestStep(model.manifest))
    : model.steps.includes(asked)
      ? Effect.succeed(asked)
      : Effect.fail(
          new CommandFailed({
            problem: `Model ${model.digest} has no ${asked} energy.`,
            next: "Leave out --step, or train the model again with `groundstate train`."
          })
        )

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
