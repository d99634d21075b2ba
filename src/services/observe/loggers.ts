// The forms of log lines, all to stderr: stdout belongs to the data that commands print.
import { Logger } from "effect"

export const loggers = {
  pretty: Logger.prettyLogger({ stderr: true, colors: "auto" }),
  json: Logger.withConsoleError(Logger.jsonLogger),
  logfmt: Logger.withConsoleError(Logger.logfmtLogger)
} as const

/** Logs until a configuration is known; `Telemetry.loggerLayer` takes its place, so that no line is told twice. */
export const firstLogger: Logger.Logger<unknown, void> = loggers.logfmt
