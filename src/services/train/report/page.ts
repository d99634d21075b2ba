// The report of an evaluation as one HTML page that needs nothing else: no network, no script, light and dark.
import type { Contribution } from "../../../schema/verdict/Alert.ts"
import { drawCalibration, drawHistogram, drawPrecisionRecall, drawRoc, drawTimeline } from "./draw.ts"
import type { Gathered } from "./gather.ts"
import { explainedRows, kindsTable } from "./rowTables.ts"
import { styles } from "./styles.ts"
import { element } from "./svg.ts"
import { countText, dateText, escapeHtml, foreign, numberText, shareText } from "./words.ts"
import type { WorstRow } from "./worst.ts"

/** A row with why it has its energy; undefined where the model has no graph that says so. */
export interface ExplainedRow extends WorstRow {
  readonly contributions: ReadonlyArray<Contribution> | undefined
}

export interface Report {
  readonly model: {
    readonly name: string
    readonly digest: string
    readonly step: "deep" | "fast" | "two"
    readonly trainedRows: number
  }
  readonly input: string
  readonly label: string
  readonly alertShare: number
  readonly rows: number
  readonly anomalies: number
  readonly normalLabels: ReadonlyArray<string>
  readonly rocAuc: number
  readonly averagePrecision: number
  readonly truePositiveRateAt1Percent: number
  readonly detectionRate: number
  readonly falseAlarmRate: number
  readonly caught: number
  readonly falseAlarms: number
  readonly unlabelled: number
  readonly broken: number
  readonly unreadableCells: number
  readonly missingColumns: ReadonlyArray<string>
  readonly gathered: Omit<Gathered, "misses" | "falseAlarms">
  readonly misses: ReadonlyArray<ExplainedRow>
  readonly falseAlarmRows: ReadonlyArray<ExplainedRow>
}

const card = (name: string, value: string, more: string) =>
  `<div><dt>${name}</dt><dd class="value">${value}</dd><dd class="more">${more}</dd></div>`

const cards = (report: Report): string => {
  const normals = report.rows - report.anomalies
  const { threshold } = report.gathered
  return `<dl class="cards">${[
    card("ROC-AUC", report.rocAuc.toFixed(4), "1 is perfect, 0.5 is guessing"),
    card(
      "Average precision",
      report.averagePrecision.toFixed(4),
      `guessing: ${(report.anomalies / report.rows).toFixed(4)}`
    ),
    card(
      "Detected",
      shareText(report.detectionRate),
      `${countText(report.caught)} of ${countText(report.anomalies)} anomalies`
    ),
    card(
      "False alarms",
      shareText(report.falseAlarmRate),
      `${countText(report.falseAlarms)} of ${countText(normals)} normal rows`
    ),
    card(
      "Threshold",
      threshold === undefined ? "none" : numberText(threshold),
      `nats, where p is ${report.alertShare}`
    ),
    card("Caught at 1 %", shareText(report.truePositiveRateAt1Percent), "where 1 % of normal rows alarm")
  ].join("")}</dl>`
}

const facts = (report: Report): string => {
  const { model } = report
  const notes = [
    report.unlabelled > 0 ? `${countText(report.unlabelled)} rows without a label, not measured` : "",
    report.broken > 0 ? `${countText(report.broken)} rows could not be read` : "",
    report.unreadableCells > 0
      ? `${countText(report.unreadableCells)} cells of numeric columns are no numbers; they count as missing`
      : "",
    report.missingColumns.length > 0
      ? `the table lacks ${report.missingColumns.slice(0, 8).map(foreign).join(", ")}${report.missingColumns.length > 8 ? ", …" : ""}`
      : ""
  ].filter((note) => note !== "")
  const lines: ReadonlyArray<readonly [string, string]> = [
    [
      "Model",
      `${foreign(model.name)}, ${model.step} energy, trained on ${countText(model.trainedRows)} rows`
    ],
    ["Digest", `<code>${escapeHtml(model.digest)}</code>`],
    [
      "Rows",
      `${countText(report.rows)}: ${countText(report.anomalies)} anomalies, ${countText(report.rows - report.anomalies)} normal`
    ],
    [
      "Labels",
      `column ${foreign(report.label)}; normal is ${report.normalLabels.map(foreign).join(", ")}, all else an anomaly`
    ],
    ...(notes.length === 0 ? [] : ([["Notes", notes.join("; ")]] as const))
  ]
  return `<section class="panel"><h2>What was measured</h2><table class="facts"><tbody>${lines
    .map(([name, value]) => `<tr><th scope="row">${name}</th><td>${value}</td></tr>`)
    .join("")}</tbody></table></section>`
}

/** One entry of a legend: a sample of the mark and what it stands for. */
const key = (sample: string, words: string) =>
  `<li><svg viewBox="0 0 22 12" aria-hidden="true">${sample}</svg>${words}</li>`
const box = (kind: string) => element("rect", { x: 1, y: 1, width: 20, height: 10, class: kind })
const stroke = (kind: string) => element("line", { x1: 0, y1: 6, x2: 22, y2: 6, class: kind })
const dot = (kind: string) => element("circle", { cx: 11, cy: 6, r: 4, class: kind })
const diamond = element("path", { d: "M11 1l5 5l-5 5l-5 -5Z", class: "outside" })

interface FigureParts {
  readonly title: string
  readonly about: string
  readonly legend: ReadonlyArray<string>
  readonly drawn: string
  readonly columns: ReadonlyArray<string>
  readonly lines: ReadonlyArray<ReadonlyArray<string>>
  readonly wide?: boolean
}

/** A drawing with its caption, its legend, and its figures as a table. */
const figure = ({ title, about, legend, drawn, columns, lines, wide }: FigureParts): string =>
  `<figure class="panel"><figcaption><h2>${title}</h2><p class="about">${about}</p></figcaption>` +
  `<ul class="legend">${legend.join("")}</ul>` +
  (wide === true ? `<div class="scroll">${drawn}</div>` : drawn) +
  `<details><summary>The figures as a table</summary><div><table><caption>${title}</caption><thead><tr>${columns
    .map((column) => `<th scope="col" class="number">${column}</th>`)
    .join("")}</tr></thead><tbody>${lines
    .map((cells) => `<tr>${cells.map((cell) => `<td class="number">${cell}</td>`).join("")}</tr>`)
    .join("")}</tbody></table></div></details></figure>`

/** Every nth point, the last included: enough for a table. */
const some = <A>(points: ReadonlyArray<A>, most: number): ReadonlyArray<A> => {
  const every = Math.max(1, Math.ceil(points.length / most))
  return points.filter((_, at) => at % every === 0 || at === points.length - 1)
}

const histogram = ({ gathered, alertShare }: Report): string =>
  figure({
    title: "Energies",
    about: "How many rows have which energy. Where the two kinds overlap, no threshold tells them apart.",
    legend: [
      key(box("normal"), "normal rows"),
      key(box("anomalous"), "anomalies"),
      key(stroke("threshold"), `threshold (p ≤ ${alertShare})`)
    ],
    drawn: drawHistogram(gathered.bins, gathered.axis, gathered.threshold),
    columns: ["energy from", "to", "normal rows", "anomalies"],
    lines: gathered.bins
      .filter((bin) => bin.normal + bin.anomalous > 0)
      .map((bin) => [
        numberText(bin.from),
        numberText(bin.to),
        countText(bin.normal),
        countText(bin.anomalous)
      ]),
    wide: true
  })

const roc = (report: Report): string =>
  figure({
    title: "ROC curve",
    about: "What share of anomalies is caught at the price of which share of false alarms.",
    legend: [
      key(stroke("curve"), `this model, AUC ${report.rocAuc.toFixed(4)}`),
      key(stroke("chance"), "guessing, AUC 0.5"),
      key(dot("operating"), "the threshold")
    ],
    drawn: drawRoc(report.gathered.roc, { x: report.falseAlarmRate, y: report.detectionRate }, report.rocAuc),
    columns: ["false alarms", "anomalies caught"],
    lines: some(report.gathered.roc, 24).map(({ x, y }) => [shareText(x), shareText(y)])
  })

const precisionRecall = (report: Report): string => {
  const { caught, falseAlarms, gathered } = report
  const prevalence = report.anomalies / report.rows
  return figure({
    title: "Precision and recall",
    about: "What share of alarms is right, as more and more of the anomalies are caught.",
    legend: [
      key(stroke("curve"), `this model, AP ${report.averagePrecision.toFixed(4)}`),
      key(stroke("chance"), `guessing, AP ${prevalence.toFixed(4)}`),
      key(dot("operating"), "the threshold")
    ],
    drawn: drawPrecisionRecall(
      gathered.precisionRecall,
      caught === 0 ? undefined : { x: report.detectionRate, y: caught / (caught + falseAlarms) },
      prevalence,
      report.averagePrecision
    ),
    columns: ["recall", "precision"],
    lines: some(gathered.precisionRecall, 24).map(({ x, y }) => [shareText(x), shareText(y)])
  })
}

const calibration = (report: Report): string => {
  const { gathered, alertShare } = report
  const points = gathered.calibration
  const inside = points.filter((point) => point.observed >= point.low && point.observed <= point.high).length
  return figure({
    title: "Calibration",
    about: `How often normal rows have a p-value of at most the nominal one. Inside the band at ${inside} of ${points.length} points; above it, this table's normal rows alarm more often than promised, below it less.`,
    legend: [
      key(stroke("curve") + dot("dot"), "observed"),
      key(diamond, "outside the band"),
      key(box("band"), "95 % of exact p-values (binomial)")
    ],
    drawn: drawCalibration(points, report.rows - report.anomalies, alertShare),
    columns: ["nominal p", "observed", "band from", "to"],
    lines: points.map((point) => [point.nominal, point.observed, point.low, point.high].map(shareText))
  })
}

const timeline = ({ gathered }: Report): string => {
  const { timeline: series } = gathered
  if (series === undefined) return ""
  const { buckets, from, to, unit } = series
  const words = unit === "date" ? dateText : numberText
  const startOf = (at: number) => from + ((to - from) * at) / buckets.length
  const marked = buckets.flatMap((bucket, at) =>
    bucket.anomalies + bucket.caught + bucket.falseAlarms > 0 ? [{ ...bucket, at }] : []
  )
  return figure({
    title: "Timeline",
    about: `Energies by column ${foreign(series.column)}, from ${words(from)} to ${words(to)}, in ${countText(buckets.length)} stretches.`,
    legend: [
      key(stroke("series"), "highest energy of a stretch"),
      key(box("area"), "from its mean to its highest"),
      key(box("strip"), "labelled as an anomaly"),
      key(stroke("threshold"), "threshold")
    ],
    drawn: drawTimeline(series, gathered.axis, gathered.threshold),
    columns: ["from", "rows", "highest energy", "anomalies", "caught", "false alarms"],
    lines: marked.map((bucket) => [
      words(startOf(bucket.at)),
      countText(bucket.rows),
      numberText(bucket.highest),
      countText(bucket.anomalies),
      countText(bucket.caught),
      countText(bucket.falseAlarms)
    ]),
    wide: true
  })
}

/** The whole page. Its size is bounded: it grows neither with the rows nor with the length of a text in them. */
export const renderReport = (report: Report): string => {
  const { gathered } = report
  const kinds = gathered.kinds.length > 1 ? kindsTable(gathered.kinds, gathered.otherKinds) : ""
  // Beside the calibration there is room for a short list and the facts, or for a long list.
  const longList = gathered.kinds.length > 6
  const body = [
    `<h1>How well ${foreign(report.model.name)} tells anomalies from normal rows</h1>`,
    `<p class="sub">Evaluated on ${foreign(report.input)}, ${countText(report.rows)} labelled rows · model <code>${escapeHtml(report.model.digest)}</code></p>`,
    cards(report),
    histogram(report),
    `<div class="pair">${roc(report)}${precisionRecall(report)}</div>`,
    `<div class="pair">${calibration(report)}<div class="stack">${kinds}${longList ? "" : facts(report)}</div></div>`,
    timeline(report),
    explainedRows(
      "Worst misses",
      "The anomalies that looked most normal, of each kind the worst first, and what their energies are made of: how far each feature lies from what the model expected.",
      "No anomaly was missed.",
      report.misses
    ),
    explainedRows(
      "Worst false alarms",
      "The normal rows with the highest energies, and what raised them.",
      "No normal row raised an alarm.",
      report.falseAlarmRows
    ),
    longList ? facts(report) : ""
  ].join("\n")
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evaluation of ${escapeHtml(report.model.name.slice(0, 80))}</title>
<style>${styles}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`
}
