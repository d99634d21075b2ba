// `groundstate deadletters`: events that were refused, why, and giving them to their stream again.
import { Effect, Schema } from "effect"
import { REPLAY_LETTERS_MAX, ReplayResult } from "../../schema/api/DeadLettersApi.ts"
import { CommandFailed, UsageInvalid } from "../../schema/error/CliError.ts"
import { DeadLetter, DeadLetterReason } from "../../schema/event/DeadLetter.ts"
import { makeApi, serverFlag, understand } from "./ApiClient.ts"
import { sendOnce } from "./decisions.ts"
import { formatAge, formatBytes, formatCount, formatTime } from "./format.ts"
import {
  defaultFlag,
  optionalChoiceFlag,
  optionalFlag,
  repeatedArgument,
  requiredArgument,
  switchFlag,
  wholeNumber
} from "./inputs.ts"
import { limitFlag, outputFlag, printAs, printList, tableWidth } from "./Output.ts"
import { printable } from "./paint.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs, renderTable } from "./table.ts"

const columns = (now: number): ReadonlyArray<Column<DeadLetter>> => [
  { header: "ID", cell: (row) => row.id },
  { header: "STREAM", cell: (row) => row.stream },
  { header: "AGE", cell: (row) => formatAge(row.timestamp, now) },
  { header: "REASON", cell: (row) => row.reason },
  { header: "SIZE", align: "right", cell: (row) => formatBytes(row.size) },
  { header: "DETAIL", cell: (row) => row.detail }
]

const filters = {
  stream: optionalFlag("stream", { value: "STREAM", about: "only those of this stream" }),
  topic: optionalFlag("topic", { value: "TOPIC", about: "only those that came in on this topic" }),
  reason: optionalChoiceFlag("reason", {
    about: "only those refused for this reason",
    choices: DeadLetterReason.literals
  })
}

const list = subcommand({
  name: "list",
  summary: "List refused events, with why",
  examples: [["deadletters list --reason bad-json", "events that are no JSON"]],
  inputs: { server: serverFlag, ...filters, limit: limitFlag, output: outputFlag },
  run: ({ server, stream, topic, reason, limit, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const listed = yield* api.list("/v1/deadletters", { stream, topic, reason }, limit)
      yield* printList({
        form: output,
        body: listed,
        rows: understand(api, "a list of dead letters", Schema.Array(DeadLetter))(listed.items),
        columns,
        empty: "No dead letters."
      })
    })
})

const BYTES_SHOWN = 2_048

/** Bytes as text where they are text, as a hex dump where not. */
export const renderBytes = (bytes: Uint8Array): string => {
  const shown = bytes.subarray(0, BYTES_SHOWN)
  const more =
    bytes.length > shown.length
      ? `\n… ${formatCount(bytes.length - shown.length)} more bytes; -o json has them as Base64`
      : ""
  // A cut may split the last character: only then may the decoder forgive.
  const text = new TextDecoder("utf-8", { fatal: bytes.length === shown.length })
  try {
    const decoded = text.decode(shown)
    if (!decoded.includes("\u0000")) return decoded.split("\n").map(printable).join("\n") + more
  } catch {
    // Not UTF-8: shown as bytes.
  }
  const lines: Array<string> = []
  for (let at = 0; at < Math.min(shown.length, 512); at += 16) {
    const row = shown.subarray(at, at + 16)
    const hex = Array.from(row, (byte) => byte.toString(16).padStart(2, "0")).join(" ")
    const ascii = Array.from(row, (byte) =>
      byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "."
    ).join("")
    lines.push(`${at.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${ascii}`)
  }
  return lines.join("\n") + more
}

/** `deadletters show`: one refused event as a page. */
export const renderDeadLetterPage = (letter: DeadLetter): string =>
  [
    renderPairs([
      ["Id", letter.id],
      ["Stream", letter.stream],
      ["Came from", `${letter.topic}, partition ${letter.partition}, offset ${letter.offset}`],
      ["Time", formatTime(letter.timestamp)],
      ["Reason", letter.reason],
      ["Detail", printable(letter.detail)],
      ["Attempts", String(letter.attempts)],
      [
        "Size",
        `${formatBytes(letter.size)}${letter.size > letter.bytes.length ? `, cut to ${formatBytes(letter.bytes.length)}` : ""}`
      ],
      ...Object.entries(letter.headers).map(
        ([name, value]) => [`Header ${printable(name)}`, printable(value)] as const
      )
    ]),
    `Event:\n${renderBytes(letter.bytes).replace(/^/gm, "  ")}`
  ].join("\n\n")

const show = subcommand({
  name: "show",
  summary: "Look into one refused event: why, where it stood, its bytes",
  inputs: { id: requiredArgument("ID", "the dead letter"), server: serverFlag, output: outputFlag },
  run: ({ id, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(`/v1/deadletters/${encodeURIComponent(id)}`)
      yield* printAs(
        output,
        body,
        Effect.map(understand(api, `dead letter ${id}`, DeadLetter)(body), renderDeadLetterPage)
      )
    })
})

const Report = Schema.Struct({
  dryRun: Schema.Boolean,
  appended: Schema.NonNegativeInt,
  results: Schema.Array(ReplayResult)
})

const replay = subcommand({
  name: "replay",
  summary: "Append refused events to their stream once more",
  detail: [
    "For after a definition was corrected: the original bytes go to the topic and partition that they came from. --dry-run appends nothing and says which would decode now. Give ids, or a filter, or --all."
  ],
  examples: [
    ["deadletters replay --stream flows --reason missing-field --dry-run", "which would be taken now"],
    ["deadletters replay flows.0.1234", "one of them"]
  ],
  inputs: {
    ids: repeatedArgument("ID", "dead letters to replay", 0),
    server: serverFlag,
    ...filters,
    all: switchFlag("all", "every dead letter, without a filter"),
    limit: defaultFlag(
      "limit",
      { value: "N", about: "at most so many in one request", fallback: String(REPLAY_LETTERS_MAX) },
      wholeNumber(1, REPLAY_LETTERS_MAX)
    ),
    dryRun: switchFlag("dry-run", "append nothing, say what would happen"),
    output: outputFlag
  },
  run: ({ ids, server, stream, topic, reason, all, limit, dryRun, output }) =>
    Effect.gen(function* () {
      const filtered = stream !== undefined || topic !== undefined || reason !== undefined
      const ways = [ids.length > 0, filtered, all].filter((way) => way).length
      if (ways !== 1) {
        return yield* new UsageInvalid({
          problem:
            ways === 0
              ? "Nothing says which dead letters to replay."
              : "Ids, a filter and --all exclude each other.",
          next: "Give ids, or a filter (--stream, --topic, --reason), or --all; --dry-run shows what would happen."
        })
      }
      const api = yield* makeApi(server)
      const given = { stream, topic, reason }
      const filter = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
      const body = yield* sendOnce(
        api,
        "/v1/deadletters/replay",
        ids.length > 0 ? { ids, dryRun } : { filter: { ...filter, limit }, dryRun }
      )
      const decoded = understand(api, "the replay", Report)(body)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const report = yield* decoded
          const width = yield* tableWidth
          if (report.results.length === 0) return "No dead letters match."
          const table = renderTable<ReplayResult>(
            [
              { header: "ID", cell: (row) => row.id },
              { header: "OUTCOME", cell: (row) => row.outcome },
              {
                header: "AT",
                cell: (row) =>
                  row.partition === null || row.offset === null ? "-" : `${row.partition}/${row.offset}`
              },
              { header: "DETAIL", cell: (row) => row.detail ?? "" }
            ],
            report.results,
            width
          )
          const would = report.results.filter((result) => result.outcome === "would-decode").length
          const sum = report.dryRun
            ? `${would} of ${report.results.length} would decode; nothing was appended.`
            : `${report.appended} of ${report.results.length} appended.`
          return `${table}\n\n${sum}`
        })
      )
      const report = yield* decoded
      const failed = report.results.filter((result) => result.outcome === "failed").length
      if (failed > 0) {
        return yield* new CommandFailed({
          problem: `The log did not take ${failed} of them.`,
          next: "They are still dead letters; see `groundstate doctor`, then replay them again."
        })
      }
    })
})

/** The whole of `groundstate deadletters`. */
export const deadletters = group({
  name: "deadletters",
  summary: "Look into refused events, and give them to their stream again",
  children: [list, show, replay]
})
