// From what cells say to a region's health in words. Pure.
import type { CellStatus } from "../../schema/protocol/CellProtocol.ts"

export interface Finding {
  /** A cell that fails does not score; one that is degraded scores late or with less than its model. */
  readonly weight: "degraded" | "failing"
  readonly reason: string
}

/** Events wait this long before a cell counts as late, seconds. */
const LATE_SECONDS = 10

const paused: Readonly<Record<NonNullable<CellStatus["paused"]>, string>> = {
  starting: "is starting",
  "log-unavailable": "can't read the event log",
  "database-unavailable": "can't reach the state database",
  "alerts-undelivered": "waits until its alerts are delivered",
  "checkpoint-slow": "waits until its last checkpoint is stored",
  "model-unavailable": "waits for the model that its last seconds were scored with",
  stopped: "has stopped"
}

/** What is not as it should be with one cell; nothing when all is well. */
export const judgeCell = (
  stream: string,
  partition: number,
  status: CellStatus | undefined
): ReadonlyArray<Finding> => {
  const cell = `Cell ${stream}/${partition}`
  if (status === undefined) return [{ weight: "failing", reason: `${cell} does not answer.` }]
  const findings: Array<Finding> = []
  if (status.paused !== null) {
    const detail = status.pauseDetail === null ? "" : `: ${status.pauseDetail}`
    findings.push({
      weight: status.paused === "starting" || status.paused === "checkpoint-slow" ? "degraded" : "failing",
      reason: `${cell} ${paused[status.paused]}${detail}; ${status.lag} events wait in the log.`
    })
  } else if (status.oldestEventAgeSeconds > LATE_SECONDS) {
    findings.push({
      weight: "degraded",
      reason: `${cell} is behind: the oldest of ${status.lag} waiting events is ${Math.round(status.oldestEventAgeSeconds)} s old.`
    })
  }
  if (status.breaker === "open" || status.breaker === "half-open") {
    findings.push({
      weight: "degraded",
      reason: `${cell} scores by ${status.path}: its model's breaker is ${status.breaker}.`
    })
  }
  return findings
}

/** Failing when every cell fails, degraded when anything is amiss. */
export const regionHealth = (
  findings: ReadonlyArray<Finding>,
  cells: number
): "healthy" | "degraded" | "failing" => {
  if (findings.length === 0) return "healthy"
  const failing = findings.filter((finding) => finding.weight === "failing").length
  return cells > 0 && failing >= cells ? "failing" : "degraded"
}
