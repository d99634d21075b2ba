// The port to what is listed: incidents, alerts, devices that matter, models. Listing never wakes an actor.
import { Context, type Effect } from "effect"
import type { StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import type { ModelVersionRecord } from "../../schema/protocol/ModelProtocol.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import type { Incident, IncidentStatus } from "../../schema/verdict/Incident.ts"

/** Newest first; `next` is the cursor of the page after, null on the last. */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly next: string | null
}

export interface ListQuery {
  readonly stream?: string | undefined
  readonly device?: string | undefined
  /** As given by `next`; an unknown cursor starts from the newest. */
  readonly cursor?: string | undefined
  readonly limit: number
}

export class Projections extends Context.Tag("groundstate/services/state/Projections")<
  Projections,
  {
    readonly incidents: (
      query: ListQuery & { readonly status?: IncidentStatus | undefined }
    ) => Effect.Effect<Page<Incident>, StorageUnavailable>
    readonly incident: (id: string) => Effect.Effect<Incident | undefined, StorageUnavailable>
    readonly alerts: (
      query: ListQuery & { readonly incident?: string | undefined }
    ) => Effect.Effect<Page<Alert>, StorageUnavailable>
    readonly alert: (id: string) => Effect.Effect<Alert | undefined, StorageUnavailable>
    /** Devices with an open incident, a quarantine or an override. */
    readonly devices: (
      query: ListQuery & { readonly state: "incident" | "quarantined" | "overridden" }
    ) => Effect.Effect<Page<DeviceRecord>, StorageUnavailable>
    readonly models: Effect.Effect<ReadonlyArray<ModelVersionRecord>, StorageUnavailable>
    readonly counts: Effect.Effect<
      { readonly openIncidents: number; readonly quarantined: number; readonly alerts: number },
      StorageUnavailable
    >
  }
>() {}
