// From a decision to what people and programs read: the alert, the verdict, one sentence that says why.
import type { RecordBatch } from "../../schema/event/Batch.ts"
import { DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import { AlertId } from "../../schema/Ids.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { Alert, Contribution } from "../../schema/verdict/Alert.ts"
import type { Verdict } from "../../schema/verdict/Verdict.ts"
import { SEVERITIES, SILENCE_SEVERITY } from "../../services/decide/decide.ts"
import type { RowExplanation } from "../../services/score/Scorer.ts"
import type { SliceContext } from "./SliceContext.ts"

/** Contributions kept in an alert, and those named in its summary. */
const CONTRIBUTIONS_MAX = 8
const NAMED_MAX = 2

const round = (value: number): number =>
  value === 0 || !Number.isFinite(value) ? value : Number(value.toPrecision(4))

const shown = (value: number | string | null): string =>
  value === null ? "missing" : typeof value === "string" ? `"${value}"` : String(round(value))

const seconds = (value: number | string | null): string =>
  typeof value === "number" ? `${round(value)} s` : shown(value)

/** `latency vs own baseline: 412, expected 96`. */
const phrase = ({ feature, observed, expected }: Contribution): string => {
  if (feature === "gap") return `gap: ${seconds(observed)}, expected ${seconds(expected)}`
  if (feature === "gap vs own baseline") return `own gap: ${seconds(observed)}, expected ${seconds(expected)}`
  if (feature.endsWith(" unchanged") && observed !== null)
    return `${feature} for ${shown(observed)} events, at most ${shown(expected)} expected`
  if (feature.endsWith(" rarity")) return `rare ${feature.slice(0, -" rarity".length)}: ${shown(observed)}`
  return expected === null
    ? `${feature}: ${shown(observed)}`
    : `${feature}: ${shown(observed)}, expected ${shown(expected)}`
}

/** What weighs most, in words. */
export const summarize = (rule: string | null, contributions: ReadonlyArray<Contribution>): string => {
  const reasons = contributions
    .filter((item) => item.energy > 0)
    .slice(0, NAMED_MAX)
    .map(phrase)
  if (rule === null) return reasons.length === 0 ? "unusual as a whole" : reasons.join("; ")
  return reasons.length === 0 ? `rule ${rule}` : `rule ${rule}; ${reasons.join("; ")}`
}

/** Alert number `index` of the slice. */
export const alertOf = (
  context: Pick<SliceContext, "core" | "key">,
  batch: RecordBatch,
  step: Step,
  index: number,
  explained: RowExplanation | undefined,
  manifest: Manifest | undefined
): Alert => {
  const { core, key } = context
  const event = core.alertEvent(index)
  const record = core.events.record[event]
  const offset = batch.offsets[record]
  const hit = core.hits[event]
  const rule = hit < 0 || core.plan.rules[hit].then === "allow" ? null : core.plan.rules[hit]
  const path = core.pathOf(event)
  const byModel = path === "deep" || path === "fast"
  const raiser =
    rule !== null ? `rule-${rule.name}` : byModel ? `model-${core.modelDigest?.slice(7, 19)}` : step
  const contributions =
    explained !== undefined && manifest !== undefined
      ? core.modelContributions(event, manifest, explained, CONTRIBUTIONS_MAX)
      : core.baselineContributions(event, CONTRIBUTIONS_MAX)
  const scored = step !== "rules"
  const threshold = core.alertThreshold(index)
  return {
    id: AlertId.make(`${key.stream}.${key.partition}.${offset}.${raiser}`),
    stream: key.stream,
    partition: key.partition,
    offset,
    device: core.deviceIds.text(core.events.device[event]),
    time: core.events.time[event],
    recordTime: batch.timestamps[record],
    severity: core.alertSeverity(index),
    rule: rule?.name ?? null,
    escalated: rule?.then === "escalate",
    path,
    model: byModel ? core.modelDigest : null,
    energy: scored ? core.energyOf(event, step) : null,
    // As it was when the event was decided: the histogram has gone on since, by as much as the slice was long.
    pvalue: scored ? core.alertPvalue(index) : null,
    threshold: scored && Number.isFinite(threshold) ? threshold : null,
    contributions,
    prototype: explained?.prototype ?? null,
    quarantined: (core.columns.flags[core.events.device[event]] & DeviceFlag.quarantined) !== 0,
    summary: summarize(rule?.name ?? null, contributions)
  }
}

/** The silences of the slice. Each is found at an event of another device, whose place in the log its id tells. */
export const silencesOf = (
  { core, key }: Pick<SliceContext, "core" | "key">,
  batch: RecordBatch
): ReadonlyArray<Alert> =>
  core.silences().map(({ device, event, since, usual }) => {
    const record = core.events.record[event]
    const elapsed = round((core.events.time[event] - since) / 1_000)
    const expected = round(usual)
    return {
      id: AlertId.make(`${key.stream}.${key.partition}.${batch.offsets[record]}.silence`),
      stream: key.stream,
      partition: key.partition,
      offset: batch.offsets[record],
      device,
      time: core.events.time[event],
      recordTime: batch.timestamps[record],
      severity: SEVERITIES[SILENCE_SEVERITY],
      rule: null,
      escalated: false,
      path: "rules",
      model: null,
      energy: null,
      pvalue: null,
      threshold: null,
      // Of a gap that is longer by chance: −log P of an exponential one.
      contributions: [
        { feature: "silence", energy: round(elapsed / Math.max(expected, 1e-3)), observed: elapsed, expected }
      ],
      prototype: null,
      quarantined: false,
      summary: `no event since ${new Date(since).toISOString()}, usually every ${expected} s`
    }
  })

/** The slice's alerts of both kinds, in the order of the log. */
export const inOrder = (
  alerts: ReadonlyArray<Alert>,
  silences: ReadonlyArray<Alert>
): ReadonlyArray<Alert> =>
  silences.length === 0 ? alerts : [...alerts, ...silences].sort((a, b) => a.offset - b.offset)

/** The verdict on record `record` of the slice, whether it alerted, passed, repeated or was refused. */
export const verdictOf = (
  context: Pick<SliceContext, "core" | "key">,
  batch: RecordBatch,
  record: number,
  step: Step,
  alerts: ReadonlyArray<Alert>
): Verdict => {
  const { core, key } = context
  const offset = batch.offsets[record]
  const rejected = core.rejects.record.indexOf(record)
  const event = core.eventOfRecord(record)
  const byModel = step === "deep" || step === "fast"
  const base: Verdict = {
    stream: key.stream,
    device: event < 0 ? "" : core.deviceIds.text(core.events.device[event]),
    partition: key.partition,
    offset,
    anomalous: false,
    decision: "normal",
    rule: null,
    severity: null,
    fallback: false,
    path: event < 0 ? step : core.pathOf(event),
    model: byModel ? core.modelDigest : null,
    energy: null,
    pvalue: null,
    alertId: null,
    contributions: [],
    rejected: null
  }
  if (event < 0) {
    const known = rejected >= 0 && rejected < core.rejects.count
    return {
      ...base,
      rejected: known ? `${core.rejects.reason[rejected]}: ${core.rejects.detail[rejected]}` : "not scored"
    }
  }
  const hit = core.hits[event]
  const rule = hit < 0 ? undefined : core.plan.rules[hit]
  const alert = alerts.find((item) => item.offset === offset && item.device === base.device)
  const scored = step !== "rules" && !core.isRepeat(event)
  const energy = scored ? core.energyOf(event, step) : null
  const anomalous = alert !== undefined || core.isAnomalous(event)
  return {
    ...base,
    anomalous,
    decision: rule !== undefined ? rule.then : anomalous ? "alert" : "normal",
    rule: rule?.name ?? null,
    severity: alert?.severity ?? (rule !== undefined && rule.then !== "allow" ? rule.severity : null),
    energy,
    pvalue: energy === null ? null : (alert?.pvalue ?? core.pvalueOf(energy, core.scoredBy)),
    alertId: alert?.id ?? null,
    contributions: alert?.contributions ?? []
  }
}
