// Draws what was gathered: histogram, curves, calibration and timeline, each as an SVG of its own.
import { scaleLinear, scaleLog, scaleUtc } from "d3-scale"
import type { CalibrationPoint, Point } from "./curves.ts"
import { alongAxis, type EnergyAxis } from "./energyAxis.ts"
import type { Bin } from "./gather.ts"
import {
  axes,
  drawing,
  element,
  type Frame,
  halfFrame,
  line,
  path,
  type Tick,
  text,
  through,
  wideFrame
} from "./svg.ts"
import type { TimeBucket, Timeline } from "./timeline.ts"
import { countText, numberText, shareText } from "./words.ts"

interface Placed {
  readonly at: (value: number) => number
  readonly ticks: ReadonlyArray<Tick>
}

const shares = (from: number, to: number): Placed => {
  const at = scaleLinear([0, 1], [from, to])
  return { at, ticks: at.ticks(5).map((value) => ({ at: at(value), label: shareText(value) })) }
}

/** Powers of ten only, so that labels never touch. */
const powers = (low: number, high: number, from: number, to: number, words: (value: number) => string) => {
  const at = scaleLog([low, high], [from, to]).clamp(true)
  const ticks: Array<Tick> = []
  for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power++) {
    const value = Number(`1e${power}`)
    ticks.push({ at: at(value), label: words(value) })
  }
  return { at, ticks }
}

/** Ticks of an axis that is not straight: round numbers, those with fewer digits first, `apart` pixels from each other. */
const roundTicks = (axis: EnergyAxis, at: (energy: number) => number, apart: number): ReadonlyArray<Tick> => {
  const size = Math.max(Math.abs(axis.low), Math.abs(axis.high))
  const magnitudes = Array.from({ length: 24 }, (_, step) => 10 ** (Math.ceil(Math.log10(size)) - step))
  const { centre, spread } = axis.wide ?? { centre: axis.low, spread: axis.high - axis.low }
  const around = scaleLinear([centre - 3 * spread, centre + 3 * spread], [0, 1]).ticks(5)
  const candidates = [
    0,
    ...[1, 2, 5].flatMap((digit) => magnitudes.flatMap((power) => [digit * power, -digit * power])),
    ...around
  ].filter((value) => value >= axis.low && value <= axis.high)
  const ticks: Array<Tick> = []
  for (const value of candidates) {
    const place = at(value)
    if (ticks.every((tick) => Math.abs(tick.at - place) >= apart))
      ticks.push({ at: place, label: numberText(value) })
  }
  return ticks
}

const energies = (axis: EnergyAxis, from: number, to: number, apart: number): Placed => {
  const place = scaleLinear([alongAxis(axis, axis.low), alongAxis(axis, axis.high)], [from, to])
  const at = (energy: number) => place(alongAxis(axis, energy))
  if (axis.wide !== undefined) return { at, ticks: roundTicks(axis, at, apart) }
  const count = Math.max(2, Math.abs(to - from) / (1.6 * apart))
  const straight = scaleLinear([axis.low, axis.high], [0, 1])
  // As many digits as tell neighbours apart.
  const words = axis.high - axis.low < 1e4 ? straight.tickFormat(count) : numberText
  return { at, ticks: straight.ticks(count).map((value) => ({ at: at(value), label: words(value) })) }
}

/** A word beside an upright line, on the side where there is room. */
const beside = (frame: Frame, x: number, y: number, words: string) =>
  x < (frame.left + frame.right) / 2
    ? text(x + 6, y, words, { class: "note" })
    : text(x - 6, y, words, { class: "note", "text-anchor": "end" })

/** Counts of rows by energy, both kinds on one logarithmic axis; `threshold` is where rows begin to alert. */
export const drawHistogram = (
  bins: ReadonlyArray<Bin>,
  axis: EnergyAxis,
  threshold: number | undefined
): string => {
  const frame = wideFrame
  const most = Math.max(...bins.map((bin) => Math.max(bin.normal, bin.anomalous)))
  const x = energies(axis, frame.left, frame.right, 60)
  const y = powers(0.5, Math.max(10, most * 1.4), frame.bottom, frame.top, countText)
  const height = (count: number) => (count === 0 ? frame.bottom : y.at(count))
  const bars = bins
    .filter((bin) => bin.normal > 0)
    .map((bin) =>
      element("rect", {
        x: x.at(bin.from) + 0.5,
        y: height(bin.normal),
        width: Math.max(1, x.at(bin.to) - x.at(bin.from) - 1),
        height: frame.bottom - height(bin.normal),
        class: "normal"
      })
    )
  const outline = through([
    [x.at(bins[0].from), frame.bottom],
    ...bins.flatMap(
      (bin): ReadonlyArray<readonly [number, number]> => [
        [x.at(bin.from), height(bin.anomalous)],
        [x.at(bin.to), height(bin.anomalous)]
      ]
    ),
    [x.at(bins[bins.length - 1].to), frame.bottom]
  ])
  const noteAt = frame.top - 6
  const mark =
    threshold === undefined
      ? ""
      : threshold < axis.low
        ? text(frame.left, noteAt, `← alerts from ${numberText(threshold)}, left of here`, { class: "note" })
        : threshold > axis.high
          ? text(frame.right, noteAt, `alerts from ${numberText(threshold)}, right of here →`, {
              class: "note",
              "text-anchor": "end"
            })
          : line(x.at(threshold), frame.top - 14, x.at(threshold), frame.bottom, "threshold") +
            beside(frame, x.at(threshold), noteAt, `alerts from ${numberText(threshold)}`)
  return drawing(
    "histogram",
    frame,
    "Energies of normal rows and of anomalies",
    "Two histograms over the same energy axis with a logarithmic count; the table below has the counts.",
    axes(
      frame,
      { ticks: x.ticks, title: "energy, in nats (lower is more normal)" },
      { ticks: y.ticks, title: "rows" }
    ) +
      bars.join("") +
      path(outline, "anomalous") +
      mark
  )
}

const circle = (x: number, y: number) => element("circle", { cx: x, cy: y, r: 5.5, class: "operating" })

/** Where the model's own threshold lies; coordinates as the curve's. */
export const drawRoc = (points: ReadonlyArray<Point>, operating: Point, area: number): string => {
  const frame = halfFrame
  const x = shares(frame.left, frame.right)
  const y = shares(frame.bottom, frame.top)
  const curve = through(points.map((point) => [x.at(point.x), y.at(point.y)] as const))
  return drawing(
    "roc",
    frame,
    "ROC curve",
    `Share of anomalies caught against share of normal rows that alarm; the area below is ${area.toFixed(4)}.`,
    axes(frame, { ticks: x.ticks, title: "false alarms" }, { ticks: y.ticks, title: "anomalies caught" }) +
      path(`${curve}L${frame.right} ${frame.bottom}Z`, "area") +
      line(frame.left, frame.bottom, frame.right, frame.top, "chance") +
      path(curve, "curve") +
      circle(x.at(operating.x), y.at(operating.y))
  )
}

/** prevalence: the share of anomalies, which guessing reaches. */
export const drawPrecisionRecall = (
  points: ReadonlyArray<Point>,
  operating: Point | undefined,
  prevalence: number,
  average: number
): string => {
  const frame = halfFrame
  const x = shares(frame.left, frame.right)
  const y = shares(frame.bottom, frame.top)
  const steps = points.flatMap(
    (point, at): ReadonlyArray<readonly [number, number]> => [
      [x.at(at === 0 ? 0 : points[at - 1].x), y.at(point.y)],
      [x.at(point.x), y.at(point.y)]
    ]
  )
  const curve = through(steps)
  return drawing(
    "precision-recall",
    frame,
    "Precision-recall curve",
    `Share of alarms that are anomalies against share of anomalies caught; average precision ${average.toFixed(4)}.`,
    axes(
      frame,
      { ticks: x.ticks, title: "recall (anomalies caught)" },
      { ticks: y.ticks, title: "precision" }
    ) +
      path(`${curve}L${frame.right} ${frame.bottom}L${frame.left} ${frame.bottom}Z`, "area") +
      line(frame.left, y.at(prevalence), frame.right, y.at(prevalence), "chance") +
      path(curve, "curve") +
      (operating === undefined ? "" : circle(x.at(operating.x), y.at(operating.y)))
  )
}

/** normals: how many normal rows there are; share: where the model alerts. */
export const drawCalibration = (
  points: ReadonlyArray<CalibrationPoint>,
  normals: number,
  share: number
): string => {
  const frame = halfFrame
  const least = Math.min(0.1, points[points.length - 1]?.nominal ?? 0.1)
  const seen = points.map((point) => point.observed).filter((observed) => observed > 0)
  const floor = Math.min(least, 0.5 / normals, ...seen)
  const words = (value: number) => shareText(value)
  const x = powers(least, 1, frame.left, frame.right, words)
  const y = powers(floor, 1, frame.bottom, frame.top, words)
  const band = [
    ...points.map((point) => [x.at(point.nominal), y.at(Math.max(floor, point.high))] as const),
    ...[...points].reverse().map((point) => [x.at(point.nominal), y.at(Math.max(floor, point.low))] as const)
  ]
  const shown = points.filter((point) => point.observed > 0)
  const dots = shown.map((point) => {
    const [cx, cy] = [x.at(point.nominal), y.at(point.observed)]
    const inside = point.observed >= point.low && point.observed <= point.high
    return inside
      ? element("circle", { cx, cy, r: 3, class: "dot" })
      : path(`M${cx} ${cy - 4.5}l4.5 4.5l-4.5 4.5l-4.5 -4.5Z`, "outside")
  })
  const mark =
    share >= least && share < 1
      ? line(x.at(share), frame.top, x.at(share), frame.bottom, "threshold") +
        beside(frame, x.at(share), frame.bottom - 8, `alerts at p ≤ ${share}`)
      : ""
  return drawing(
    "calibration",
    frame,
    "Calibration",
    "Share of normal rows with a p-value of at most the nominal one, with the band in which 95 % of exact p-values would lie.",
    axes(
      frame,
      { ticks: x.ticks, title: "nominal p-value" },
      { ticks: y.ticks, title: "share of normal rows observed" }
    ) +
      (band.length === 0 ? "" : path(`${through(band)}Z`, "band")) +
      line(x.at(least), y.at(least), x.at(1), y.at(1), "chance") +
      mark +
      path(through(shown.map((point) => [x.at(point.nominal), y.at(point.observed)] as const)), "curve") +
      dots.join("")
  )
}

const timeTicks = (timeline: Timeline, from: number, to: number): ReadonlyArray<Tick> => {
  if (timeline.unit === "date") {
    const at = scaleUtc([timeline.from, timeline.to], [from, to])
    const words = at.tickFormat(8)
    return at.ticks(8).map((moment) => ({ at: at(moment), label: words(moment) }))
  }
  const at = scaleLinear([timeline.from, timeline.to], [from, to])
  return at.ticks(8).map((value) => ({ at: at(value), label: numberText(value) }))
}

const lanes = [
  { name: "labelled", of: "anomalies", kind: "anomaly" },
  { name: "caught", of: "caught", kind: "caught" },
  { name: "false alarms", of: "falseAlarms", kind: "false" }
] as const
const LANE = 16

/** Stretches of neighbours that all hold; `to` is the first that does not. */
const runs = (buckets: ReadonlyArray<TimeBucket>, holds: (bucket: TimeBucket) => boolean) => {
  const found: Array<{ readonly from: number; to: number }> = []
  buckets.forEach((bucket, at) => {
    if (!holds(bucket)) return
    const last = found.at(-1)
    if (last?.to === at) last.to++
    else found.push({ from: at, to: at + 1 })
  })
  return found
}

/** Energies over time with, below them, a lane each for labels, alerts on anomalies and false alarms. */
export const drawTimeline = (timeline: Timeline, axis: EnergyAxis, threshold: number | undefined): string => {
  const plot: Frame = { ...wideFrame, left: 92, height: 400, top: 24, bottom: 270 }
  const { buckets } = timeline
  const width = (plot.right - plot.left) / buckets.length
  const left = (at: number) => plot.left + at * width
  const y = energies(axis, plot.bottom, plot.top, 34)
  const filled = buckets.flatMap((bucket, at) =>
    bucket.rows > 0 ? [{ ...bucket, x: left(at) + width / 2 }] : []
  )
  const strips = runs(buckets, (bucket) => bucket.anomalies > 0).map(({ from, to }) =>
    element("rect", {
      x: left(from),
      y: plot.top,
      width: (to - from) * width,
      height: plot.bottom - plot.top,
      class: "strip"
    })
  )
  const laneTop = (lane: number) => plot.bottom + 10 + lane * (LANE + 4)
  const marks = lanes.flatMap(({ name, of, kind }, lane) => [
    text(plot.left - 8, laneTop(lane) + LANE - 4, name, { class: "tick", "text-anchor": "end" }),
    line(plot.left, laneTop(lane) + LANE, plot.right, laneTop(lane) + LANE, "grid"),
    ...runs(buckets, (bucket) => bucket[of] > 0).map(({ from, to }) =>
      element("rect", {
        x: left(from),
        y: laneTop(lane),
        width: Math.max(1.5, (to - from) * width),
        height: LANE,
        class: kind
      })
    )
  ])
  const foot = laneTop(lanes.length)
  const area = [
    ...filled.map((bucket) => [bucket.x, y.at(bucket.highest)] as const),
    ...[...filled].reverse().map((bucket) => [bucket.x, y.at(bucket.mean)] as const)
  ]
  return drawing(
    "timeline",
    plot,
    "Energies over time",
    "The highest and the mean energy of each stretch of time, with labels, alerts on anomalies and false alarms below.",
    strips.join("") +
      axes(plot, { ticks: [], title: "" }, { ticks: y.ticks, title: "energy, in nats" }) +
      timeTicks(timeline, plot.left, plot.right)
        .map(
          ({ at, label }) =>
            line(at, plot.top, at, foot, "grid") +
            text(at, foot + 16, label, { class: "tick", "text-anchor": "middle" })
        )
        .join("") +
      path(`${through(area)}Z`, "area") +
      path(through(filled.map((bucket) => [bucket.x, y.at(bucket.highest)] as const)), "series") +
      marks.join("") +
      (threshold === undefined || threshold > axis.high || threshold < axis.low
        ? ""
        : line(plot.left, y.at(threshold), plot.right, y.at(threshold), "threshold") +
          text(plot.right, y.at(threshold) - 5, "alerts above", { class: "note", "text-anchor": "end" })) +
      text(
        (plot.left + plot.right) / 2,
        plot.height - 22,
        timeline.unit === "date" ? "time, in UTC" : timeline.column.slice(0, 60),
        {
          class: "title",
          "text-anchor": "middle"
        }
      )
  )
}
