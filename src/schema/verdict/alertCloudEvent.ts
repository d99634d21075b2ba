// An alert as it leaves the region: a CloudEvents 1.0 envelope around the alert.
import { Schema } from "effect"
import { Alert } from "./Alert.ts"

/** Topic of alerts as CloudEvents, keyed by device. */
export const ALERT_TOPIC = "groundstate.alerts"

/** Type attribute of an alert's envelope; a new version of `Alert` that old readers can't take gets a new type. */
export const ALERT_EVENT_TYPE = "groundstate.alert.v1"

/** https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md */
export const AlertCloudEvent = Schema.Struct({
  specversion: Schema.Literal("1.0"),
  /** The alert's id: the same after any replay, so that receivers may drop what they have seen. */
  id: Schema.String,
  /** `/groundstate/<region>/<stream>`. */
  source: Schema.String,
  type: Schema.Literal(ALERT_EVENT_TYPE),
  /** The device. */
  subject: Schema.String,
  /** Event time, RFC 3339. */
  time: Schema.String,
  datacontenttype: Schema.Literal("application/json"),
  data: Alert
}).annotations({ identifier: "AlertCloudEvent" })
export type AlertCloudEvent = typeof AlertCloudEvent.Type

/** Milliseconds that a JavaScript date (and RFC 3339's four-digit year) can name: years 0000 to 9999. */
const FIRST_MILLIS = -62_167_219_200_000
const LAST_MILLIS = 253_402_300_799_999

/** RFC 3339 of `epochMillis` in UTC; times outside the years 0 to 9999 are moved to the nearest end, NaN to 1970. */
export const rfc3339 = (epochMillis: number): string => {
  const bounded = Math.min(Math.max(Number.isNaN(epochMillis) ? 0 : epochMillis, FIRST_MILLIS), LAST_MILLIS)
  return new Date(bounded).toISOString()
}

/** Source attribute of the alerts of a stream in a region. */
export const alertSource = (region: string, stream: string): string =>
  `/groundstate/${encodeURIComponent(region)}/${encodeURIComponent(stream)}`

/** Wraps an alert. Pure: the same alert in the same region has the same envelope. */
export const alertCloudEvent = (region: string, alert: Alert): AlertCloudEvent => ({
  specversion: "1.0",
  id: alert.id,
  source: alertSource(region, alert.stream),
  type: ALERT_EVENT_TYPE,
  subject: alert.device,
  time: rfc3339(alert.time),
  datacontenttype: "application/json",
  data: alert
})
