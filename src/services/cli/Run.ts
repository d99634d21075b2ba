// `groundstate run`: a runner of a region, from its configuration until it is told to stop.
import { Effect } from "effect"
import { checkAccessFiles } from "../inspect/Access.ts"
import { loadSettings } from "../runtime/SettingsFile.ts"
import { defaultFlag } from "./inputs.ts"
import { Programs } from "./Programs.ts"
import { loadStreams } from "./streamDefinitions.ts"
import { subcommand } from "./subcommand.ts"

/** `--config`, of every command that reads the runner's configuration. */
export const configFlag = defaultFlag("config", {
  value: "FILE",
  about: "the runner's YAML file; GROUNDSTATE_* variables override it",
  fallback: "groundstate.yaml"
})

export const run = subcommand({
  name: "run",
  summary: "Run a runner: read the streams, score, alert, answer the API",
  detail: [
    "The configuration, the environment and every stream definition are checked before anything starts; what is wrong is told at once with file and line, and the exit code is 78. An empty file stands for the defaults.",
    "Every key has a variable: http.port is GROUNDSTATE_HTTP_PORT, log.kafka.brokers is GROUNDSTATE_LOG_KAFKA_BROKERS (comma-separated). With _FILE behind the name the value is read from a file, for secrets. `groundstate config print` shows what holds and where it comes from.",
    "SIGTERM or Ctrl-C stops it in order: cells write a checkpoint, requests are answered, then it ends."
  ],
  examples: [
    ["run --config groundstate.yaml", "a runner"],
    ["config check groundstate.yaml streams/*.yaml", "only check what it would start with"]
  ],
  inputs: { config: configFlag },
  run: ({ config }) =>
    Effect.gen(function* () {
      const programs = yield* Programs
      const { settings } = yield* loadSettings(config)
      yield* checkAccessFiles(settings)
      const streams = yield* loadStreams(settings)
      yield* programs.run(settings, streams)
    })
})
