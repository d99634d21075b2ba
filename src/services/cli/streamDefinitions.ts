// Stream definitions as commands read them: with every check, the rules' among them, and every problem at once.
import { Effect } from "effect"
import { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { ruleChecks } from "../rule/ruleChecks.ts"
import { loadStreams as loadFiles } from "../runtime/definitions/StreamFiles.ts"
import type { RunnerConfig } from "../runtime/Settings.ts"

/** The streams that a runner serves. */
export const loadStreams = (settings: RunnerConfig) => loadFiles(settings.streams, [ruleChecks])

/** The one stream of a file. */
export const loadStream = (file: string) =>
  Effect.flatMap(loadFiles([file], [ruleChecks]), (streams) =>
    streams.length === 1
      ? Effect.succeed(streams[0].definition)
      : new ConfigInvalid({
          problems: [
            {
              file,
              line: 0,
              column: 0,
              path: "",
              message: `${streams.length} stream definitions are there`,
              fix: "name the file of one"
            }
          ]
        })
  )
