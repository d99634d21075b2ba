// What ends a command of the command line: each error says what to do next and has its exit code.
import { Schema } from "effect"

/** Exit codes of `groundstate`; the numbers above 64 are those of sysexits(3). */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  unavailable: 69,
  internal: 70,
  configuration: 78
} as const

/** The command line itself was wrong; nothing was done. Exit code 2. */
export class UsageInvalid extends Schema.TaggedError<UsageInvalid>()("UsageInvalid", {
  problem: Schema.String,
  /** What to type instead, or which help to read. */
  next: Schema.String
}) {
  readonly exitCode = exitCodes.usage
  override get message() {
    return `${this.problem} ${this.next}`
  }
}

/** The command understood what was asked and could not do it. Exit code 1. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  problem: Schema.String,
  next: Schema.String
}) {
  readonly exitCode = exitCodes.failed
  override get message() {
    return `${this.problem} ${this.next}`
  }
}

/** Nobody answered at the server's address, or it answered that it can't now. Exit code 69. */
export class ServerUnavailable extends Schema.TaggedError<ServerUnavailable>()("ServerUnavailable", {
  server: Schema.String,
  detail: Schema.String
}) {
  readonly exitCode = exitCodes.unavailable
  override get message() {
    return (
      `No runner answered at ${this.server}: ${this.detail}. Nothing was changed. ` +
      "Is `groundstate run` (or `groundstate demo`) up? Another address is given by --server URL or GROUNDSTATE_SERVER; " +
      "`groundstate doctor` looks for what is wrong."
    )
  }
}

/** A service that the command needs (a broker, a database) did not answer. Exit code 69. */
export class ServiceUnavailable extends Schema.TaggedError<ServiceUnavailable>()("ServiceUnavailable", {
  problem: Schema.String,
  next: Schema.String
}) {
  readonly exitCode = exitCodes.unavailable
  override get message() {
    return `${this.problem} ${this.next}`
  }
}

/** The runner refused a request; `title` and `detail` are those of its problem+json. Exit code 1. */
export class ServerRefused extends Schema.TaggedError<ServerRefused>()("ServerRefused", {
  server: Schema.String,
  request: Schema.String,
  status: Schema.Int,
  title: Schema.String,
  detail: Schema.String,
  next: Schema.String,
  /** Seconds after which to ask again; null where the runner names none. */
  retryAfter: Schema.NullOr(Schema.Number),
  /** What is wrong with single rows of a batch (from 0). */
  entries: Schema.Array(Schema.Struct({ row: Schema.NullOr(Schema.Number), detail: Schema.String }))
}) {
  readonly exitCode = exitCodes.failed
  override get message() {
    const detail = this.detail === "" || this.detail === this.title ? "" : ` ${sentence(this.detail)}`
    return `${sentence(this.title)}${detail} (${this.request} answered ${this.status}.) ${this.next}`
  }
}

/** A program that runs inside this process (runner, demo, replay) ended with a defect. Exit code 70. */
export class InternalFailure extends Schema.TaggedError<InternalFailure>()("InternalFailure", {
  detail: Schema.String
}) {
  readonly exitCode = exitCodes.internal
  override get message() {
    return (
      `groundstate stopped on an error of its own: ${this.detail}. What was acknowledged is stored. ` +
      "Start it again; if it comes back, report the text above with the version (`groundstate --version`)."
    )
  }
}

/** Capital letter at the start, full stop at the end: a fragment made a sentence. */
const sentence = (text: string): string => {
  const trimmed = text.trim()
  const ended = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`
  return ended.charAt(0).toUpperCase() + ended.slice(1)
}

export type CliError =
  | UsageInvalid
  | CommandFailed
  | ServerUnavailable
  | ServiceUnavailable
  | ServerRefused
  | InternalFailure
