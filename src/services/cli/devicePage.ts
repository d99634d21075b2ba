// `devices describe`: everything known of one device, as a page for people.
import type { DeviceView } from "../../schema/api/DevicesApi.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"
import { formatAge, formatCount, formatNumber, formatTime } from "./format.ts"
import { type Paint, printable } from "./paint.ts"
import { renderPairs, renderTable } from "./table.ts"

const BAR = 20
const SCORES_SHOWN = 10
const CONTRIBUTIONS_SHOWN = 8

const valueText = (value: number | string | null): string =>
  value === null ? "-" : typeof value === "number" ? formatNumber(value) : value

/** The features that raised an energy, each with a bar as long as its share of the largest. */
export const renderContributions = (
  contributions: ReadonlyArray<Contribution>,
  paint: Paint,
  width?: number
): string => {
  const shown = contributions.slice(0, CONTRIBUTIONS_SHOWN)
  const top = Math.max(1e-12, ...shown.map((item) => Math.abs(item.energy)))
  return renderTable<Contribution>(
    [
      { header: "FEATURE", cell: (item) => item.feature },
      { header: "NATS", align: "right", cell: (item) => formatNumber(item.energy) },
      {
        header: "SHARE",
        cell: (item) =>
          "█".repeat(Math.max(item.energy === 0 ? 0 : 1, Math.round((Math.abs(item.energy) / top) * BAR))),
        paint: (text, item) => (item.energy >= 0 ? paint.red(text) : paint.green(text))
      },
      { header: "OBSERVED", align: "right", cell: (item) => valueText(item.observed) },
      { header: "EXPECTED", align: "right", cell: (item) => valueText(item.expected) }
    ],
    shown,
    width
  )
}

const indented = (text: string): string =>
  text
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n")

const decisions = ({ record, cell }: DeviceView): ReadonlyArray<readonly [string, string]> => {
  const { quarantine, override, label, incident } = record
  return [
    [
      "Incident",
      incident === null
        ? "none"
        : `${incident.id}\n${incident.severity}, ${incident.status}, ${formatCount(incident.alerts)} ${incident.alerts === 1 ? "alert" : "alerts"} since ${formatTime(incident.openedAt)}\n${printable(incident.summary)}`
    ],
    [
      "Quarantine",
      quarantine === null
        ? cell.quarantined
          ? "on in the cell, the record follows"
          : "no"
        : `since ${formatTime(quarantine.at)} by ${printable(quarantine.by)}${quarantine.reason === "" ? "" : `: ${printable(quarantine.reason)}`}`
    ],
    [
      "Override",
      override === null
        ? "none"
        : `${override.mute ? "muted" : `threshold ${override.shift >= 0 ? "+" : ""}${formatNumber(override.shift)} nats`} until ${formatTime(override.until)}, by ${printable(override.by)}${override.reason === "" ? "" : `: ${printable(override.reason)}`}`
    ],
    [
      "Label",
      label === null
        ? "none"
        : `${label.label} by ${printable(label.by)} at ${formatTime(label.at)}${label.note === "" ? "" : `: ${printable(label.note)}`}`
    ]
  ]
}

/** `now` in epoch ms. */
export const renderDevicePage = (view: DeviceView, now: number, paint: Paint, width?: number): string => {
  const { cell } = view
  const inner = width === undefined ? undefined : width - 2
  const blocks = [
    renderPairs([
      ["Device", printable(view.device)],
      ["Stream", view.stream],
      ["Cell", `${view.stream}/${view.partition}, owned by ${printable(view.owner)} at epoch ${view.epoch}`],
      ["Events", formatCount(cell.events)],
      ["Last event", `${formatTime(cell.lastEventAt)} (${formatAge(cell.lastEventAt, now)} ago)`],
      [
        "Threshold",
        `${cell.thresholdShift >= 0 ? "+" : ""}${formatNumber(cell.thresholdShift)} nats earned by this device`
      ],
      ["Quiet until", formatTime(cell.quietUntil)],
      ["Version", String(view.record.version)],
      ...decisions(view)
    ])
  ]
  const section = (title: string, body: string) =>
    blocks.push(`${paint.bold(`${title}:`)}\n${indented(body)}`)
  if (cell.baselines.length > 0) {
    section(
      "Baselines",
      renderTable(
        [
          { header: "SIGNAL", cell: (row) => row.signal },
          { header: "SCALE", cell: (row) => row.scale },
          { header: "MEAN", align: "right", cell: (row) => formatNumber(row.mean) },
          { header: "DEVIATION", align: "right", cell: (row) => formatNumber(row.deviation) }
        ],
        cell.baselines,
        inner
      )
    )
  }
  if (cell.windows.length > 0) {
    section(
      "Windows",
      renderTable(
        [
          { header: "WINDOW", cell: (row) => row.window },
          { header: "VALUE", align: "right", cell: (row) => formatNumber(row.value) }
        ],
        cell.windows,
        inner
      )
    )
  }
  const recent = [...cell.recent].sort((a, b) => b.offset - a.offset)
  if (recent.length > 0) {
    section(
      "Last scores",
      renderTable(
        [
          { header: "OFFSET", align: "right", cell: (row) => String(row.offset) },
          { header: "TIME", cell: (row) => formatTime(row.time) },
          { header: "PATH", cell: (row) => row.path },
          { header: "ENERGY", align: "right", cell: (row) => formatNumber(row.energy) },
          { header: "P-VALUE", align: "right", cell: (row) => formatNumber(row.pvalue) },
          {
            header: "ALERT",
            cell: (row) => (row.alerted ? "yes" : "no"),
            paint: (text, row) => (row.alerted ? paint.red(text) : text)
          }
        ],
        recent.slice(0, SCORES_SHOWN),
        inner
      )
    )
  }
  const explained =
    recent.find((row) => row.alerted && row.contributions.length > 0) ??
    recent.find((row) => row.contributions.length > 0)
  if (explained !== undefined) {
    section(
      `Why ${explained.alerted ? "it alerted" : "that score"} at offset ${explained.offset}`,
      renderContributions(explained.contributions, paint, inner)
    )
  }
  return blocks.join("\n\n")
}
