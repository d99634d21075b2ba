// Trains a model of what is normal per device: the stream's events through the cell's own fold, then the trainer.
import { Effect } from "effect"
import { CommandFailed } from "../schema/error/CliError.ts"
import { TableRefused } from "../schema/error/TrainError.ts"
import { planStream } from "../schema/stream/StreamPlan.ts"
import type { TrainDeviceOptions } from "../services/cli/Programs.ts"
import { defaultConfig } from "../services/runtime/Settings.ts"
import { trainStream } from "../services/train/trainStream.ts"
import { openReplay } from "./Replay.ts"
import { streamRows } from "./streamRows.ts"

/** Share of suspect rows left out: rare modes of operation must stay in, or they are strange for ever. */
const TRIM = 0.02
/** A cell pays for every prototype at every event. */
const PROTOTYPES_MAX = 128

export const trainDevice = (options: TrainDeviceOptions) =>
  Effect.gen(function* () {
    const plan = planStream(options.definition)
    const made = yield* streamRows(
      plan,
      defaultConfig.cell,
      openReplay(options.input, plan, undefined),
      options.seed,
      (done) => options.report("reading events", done, undefined)
    )
    const summary = yield* trainStream({
      stream: plan.stream,
      output: options.output,
      name: options.name ?? options.definition.model?.name,
      seed: options.seed,
      rows: made.rows,
      count: made.count,
      features: made.features,
      vocabularies: {},
      population: made.population,
      skipped: made.skipped,
      trim: TRIM,
      prototypesMax: PROTOTYPES_MAX,
      // Two stages need both energies.
      energy: options.energy ?? (plan.suspicious === undefined ? undefined : "full"),
      progress: options.progress
    })
    return { ...summary, skipped: made.skipped }
  }).pipe(
    Effect.mapError((error) =>
      error instanceof TableRefused
        ? error
        : new CommandFailed({ problem: error.message, next: "Mend the input, then train again." })
    )
  )
