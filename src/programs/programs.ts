// The programs that the command line starts, each loaded when it is asked for: `--help` opens no database.
import { Effect, Layer } from "effect"
import { ServiceUnavailable } from "../schema/error/CliError.ts"
import { Programs } from "../services/cli/Programs.ts"
import { portProblem } from "./port.ts"

const load = <A>(module: () => Promise<A>): Effect.Effect<A> => Effect.promise(module)

const portTaken = (detail: string) =>
  new ServiceUnavailable({
    problem: `The API can't be served: ${detail}. Nothing was started.`,
    next: "Free the port, or choose another with http.port."
  })

/** What keeps a runner from starting, as the command line tells it; a taken port comes as a bare cause. */
const startFailure = (error: { readonly message: string; readonly cause?: unknown }) =>
  error.message === "" && error.cause instanceof Error
    ? portTaken(error.cause.message)
    : new ServiceUnavailable({
        problem: error.message,
        next: "`groundstate doctor` looks for what is wrong."
      })

export const programs: Layer.Layer<Programs> = Layer.succeed(Programs, {
  run: (settings, streams) =>
    Effect.gen(function* () {
      const taken = yield* portProblem(settings.http.host, settings.http.port)
      if (taken !== undefined) return yield* portTaken(taken)
      const { runnerLayer } = yield* load(() => import("./Runner.ts"))
      const definitions = streams.map((stream) => stream.definition)
      return yield* Layer.launch(runnerLayer(settings, definitions)).pipe(Effect.mapError(startFailure))
    }),
  demo: (options, show) =>
    Effect.flatMap(
      load(() => import("./Demo.ts")),
      ({ demo }) =>
        demo(options, show).pipe(
          Effect.mapError((error) => (error._tag === "CommandFailed" ? error : startFailure(error)))
        )
    ),
  replay: (options, report) =>
    Effect.flatMap(
      load(() => import("./Replay.ts")),
      ({ replay }) => replay(options, report)
    ),
  trainDevice: (options) =>
    Effect.flatMap(
      load(() => import("./TrainDevice.ts")),
      ({ trainDevice }) => trainDevice(options)
    ),
  topicTail: (options, report) =>
    Effect.flatMap(
      load(() => import("./TopicTail.ts")),
      ({ topicTail }) => topicTail(options, report)
    )
})
