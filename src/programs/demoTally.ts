// Keeps the demo's score: which injected anomalies were caught, which incidents nothing explains, how fast. Plain.
import type { Severity } from "../schema/stream/StreamDefinition.ts"
import type { Alert } from "../schema/verdict/Alert.ts"
import type { Simulation } from "../services/ingest/simulate.ts"

/** An alert this long after an anomaly's last event is still its doing (windows remember), event time. */
const SLACK_MILLIS = 15 * 60_000
/** Alerts of one device nearer than this belong to one incident, event time. */
const INCIDENT_MILLIS = 3_600_000 + 600_000
const LATEST_MAX = 10

interface Case {
  readonly id: string
  readonly device: string
  severity: Severity
  alerts: number
  injected: string | null
  lastAt: number
  summary: string
}

export interface Tally {
  /** Event time from which alerts count, epoch ms: what comes before is learning. */
  since: number
  readonly seen: Set<string>
  readonly caught: Set<string>
  readonly latencies: Array<number>
  readonly open: Map<string, Case>
  readonly cases: Array<Case>
}

export const emptyTally = (): Tally => ({
  since: Number.NEGATIVE_INFINITY,
  seen: new Set(),
  caught: new Set(),
  latencies: [],
  open: new Map(),
  cases: []
})

/** Counts an alert once; `now` is the wall clock at which it was heard of, epoch ms. */
export const tallyAlert = (tally: Tally, alert: Alert, now: number, simulation: Simulation): void => {
  if (tally.seen.has(alert.id)) return
  tally.seen.add(alert.id)
  if (alert.time < tally.since) return
  tally.latencies.push(now - alert.recordTime)
  const injection = simulation.injectionAt(alert.device, alert.time, SLACK_MILLIS)
  if (injection !== undefined) tally.caught.add(injection.id)
  const known = tally.open.get(alert.device)
  if (known !== undefined && alert.time - known.lastAt <= INCIDENT_MILLIS) {
    known.alerts++
    known.lastAt = alert.time
    known.injected ??= injection?.kind ?? null
    return
  }
  const incident: Case = {
    id: `inc-${alert.id}`,
    device: alert.device,
    severity: alert.severity,
    alerts: 1,
    injected: injection?.kind ?? null,
    lastAt: alert.time,
    summary: alert.summary
  }
  tally.open.set(alert.device, incident)
  tally.cases.push(incident)
}

const quantile = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]

/** Injected anomalies whose events have all been sent count; one under way may still be caught or missed. */
export const tallySummary = (tally: Tally, simulation: Simulation) => {
  const byKind: Record<string, { injected: number; caught: number }> = {}
  for (const injection of simulation.injections) {
    const caught = tally.caught.has(injection.id)
    if (!injection.over) continue
    byKind[injection.kind] ??= { injected: 0, caught: 0 }
    byKind[injection.kind].injected++
    if (caught) byKind[injection.kind].caught++
  }
  const kinds = Object.values(byKind)
  const sorted = [...tally.latencies].sort((a, b) => a - b)
  return {
    byKind,
    injected: kinds.reduce((sum, kind) => sum + kind.injected, 0),
    caught: kinds.reduce((sum, kind) => sum + kind.caught, 0),
    falseAlarms: tally.cases.filter((incident) => incident.injected === null).length,
    incidents: tally.cases.length,
    latency:
      sorted.length === 0
        ? undefined
        : {
            p50: quantile(sorted, 0.5),
            p95: quantile(sorted, 0.95),
            p99: quantile(sorted, 0.99),
            max: sorted[sorted.length - 1]
          },
    latest: tally.cases
      .slice(-LATEST_MAX)
      .reverse()
      .map(({ id, device, severity, alerts, injected, summary }) => ({
        id,
        device,
        severity,
        alerts,
        injected,
        summary
      }))
  }
}
