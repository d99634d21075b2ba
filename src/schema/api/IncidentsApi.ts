// Contract of questions about alerts and incidents, and of the live feed.
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { AlertId, DeviceId, IncidentId } from "../Ids.ts"
import { Alert } from "../verdict/Alert.ts"
import { Incident, IncidentStatus } from "../verdict/Incident.ts"
import { Cursor, Limit, pageOf, StreamParam } from "./paging.ts"

const AlertItem = Alert.annotations({ identifier: "Alert" })
const IncidentItem = Incident.annotations({ identifier: "Incident" })

/** An incident with its newest alerts; `GET /v1/alerts?incident=` pages through all of them. */
export const IncidentView = Schema.Struct({
  incident: IncidentItem,
  alerts: Schema.Array(AlertItem)
}).annotations({ identifier: "IncidentView" })

export const IncidentsApi = HttpApiGroup.make("incidents")
  .add(
    HttpApiEndpoint.get("list", "/incidents")
      .setUrlParams(
        Schema.Struct({
          stream: StreamParam,
          device: Schema.optional(DeviceId),
          status: Schema.optional(IncidentStatus),
          limit: Limit,
          cursor: Cursor
        })
      )
      .addSuccess(pageOf(IncidentItem).annotations({ identifier: "IncidentPage" }))
      .annotate(OpenApi.Summary, "List incidents, newest first")
  )
  .add(
    HttpApiEndpoint.get("describe", "/incidents/:id")
      .setPath(Schema.Struct({ id: IncidentId }))
      .addSuccess(IncidentView)
      .addError(problemOf(404, "there is no such incident"))
      .annotate(OpenApi.Summary, "Look into one incident")
  )
  .annotate(OpenApi.Title, "Incidents")

export const AlertsApi = HttpApiGroup.make("alerts")
  .add(
    HttpApiEndpoint.get("list", "/alerts")
      .setUrlParams(
        Schema.Struct({
          stream: StreamParam,
          device: Schema.optional(DeviceId),
          incident: Schema.optional(IncidentId),
          limit: Limit,
          cursor: Cursor
        })
      )
      .setHeaders(
        Schema.Struct({
          accept: Schema.optional(Schema.String),
          "last-event-id": Schema.optional(Schema.String.pipe(Schema.maxLength(256)))
        })
      )
      .addSuccess(pageOf(AlertItem).annotations({ identifier: "AlertPage" }))
      .annotate(OpenApi.Summary, "List alerts, newest first; or follow them live")
      .annotate(
        OpenApi.Description,
        "With `Accept: text/event-stream` the answer is a live feed (`id`: the alert's id, `event: alert`, `data`: " +
          "a CloudEvent around the alert; a comment every 15 s). Every runner's feed has the alerts of the whole region, " +
          "at least once each. `Last-Event-ID` goes on behind that alert, at any runner; where it lies too far back " +
          "(about 2,000 alerts) an `event: gap` says so. A listener that falls 1,024 alerts behind is cut off, to come " +
          "again with `Last-Event-ID`; the list has all alerts."
      )
  )
  .add(
    HttpApiEndpoint.get("describe", "/alerts/:id")
      .setPath(Schema.Struct({ id: AlertId }))
      .addSuccess(AlertItem)
      .addError(problemOf(404, "there is no such alert"))
      .annotate(OpenApi.Summary, "Look into one alert")
  )
  .annotate(OpenApi.Title, "Alerts")
