//! Reads what there is to read, when it is asked for.

use super::rates::Rates;
use super::readings::{ContainerReading, Measured, NodeReading, PodReading, Readings, VolumeReading};
use crate::container::limits::{pod_resources, resources};
use crate::directory;
use crate::ids::ContainerName;
use crate::node::disk::Room;
use crate::node::machine::Kernel;
use crate::paths::LOGS;
use crate::pod::local::LocalPod;
use crate::pod::worker::View;
use crate::shared::Shared;
use crate::volumes::claims::Claims;
use crate::volumes::claims::resolve::claim_of;
use crate::volumes::{self, Measure, Place};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Volume;
use parking_lot::Mutex;
use skiff_podnet::{Counters, Traffic};
use skiff_rooted::{Follow, Kind, Root};
use skiff_runtime::{ContainerStatus, PodHandle, Usage};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What readings are made with, and the readings before.
pub(crate) struct Gauges {
    rates: Mutex<Rates>,
}

/// The whole machine's group.
const MACHINE: &str = "/";

impl Gauges {
    pub(crate) fn new() -> Self {
        Self { rates: Mutex::default() }
    }

    /// Reads everything of the node and of `pods`. Only fails with the process.
    pub(crate) async fn read(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        pods: Vec<View>,
    ) -> io::Result<Readings> {
        let traffic = shared.network.traffic().await;
        if let Err(error) = &traffic {
            tracing::warn!(%error, "the traffic of the node's interfaces cannot be read");
        }
        let (gauges, shared) = (self.clone(), shared.clone());
        let read = move || gauges.read_blocking(&shared, &pods, &traffic.unwrap_or_default());
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)
    }

    fn read_blocking(&self, shared: &Shared, pods: &[View], traffic: &Traffic) -> Readings {
        let node = self.node(shared, traffic);
        let running: Vec<(&Arc<LocalPod>, &PodHandle)> = pods
            .iter()
            .filter(|view| !view.ended)
            .filter_map(|view| view.pod.as_ref().zip(view.handle.as_ref()))
            .collect();
        let read: Vec<PodReading> = running
            .iter()
            .filter_map(|(pod, handle)| {
                self.pod(shared, pod, handle, traffic.pods.get(pod.uid.as_str()).copied())
            })
            .collect();
        let complete = node.measured.is_some() && read.len() == running.len();
        let known: Vec<&str> = read
            .iter()
            .flat_map(|pod| std::iter::once(&pod.group).chain(pod.containers.iter().map(|c| &c.group)))
            .map(String::as_str)
            .chain([MACHINE])
            .collect();
        self.rates.lock().keep(|group| known.contains(&group));
        Readings { node, pods: read, complete }
    }

    fn measured(&self, group: &str, usage: Usage) -> Measured {
        let at = Timestamp::now();
        let nano_cores = usage.cpu_nanos.and_then(|nanos| self.rates.lock().take(group, at, nanos));
        Measured { at, usage, nano_cores }
    }

    fn node(&self, shared: &Shared, traffic: &Traffic) -> NodeReading {
        let usage = shared.runtime.machine_usage();
        let usage =
            usage.inspect_err(|error| tracing::warn!(%error, "the machine's use cannot be read")).ok();
        let kernel = Kernel::look();
        let system = &shared.machine.system;
        NodeReading {
            name: shared.config.node_name.clone(),
            started: kernel.started,
            measured: usage.map(|usage| self.measured(MACHINE, usage)),
            cpus: shared.machine.cpus,
            identity: vec![
                ("boot_id", system.boot_id.clone()),
                ("machine_id", system.machine_id.clone()),
                ("system_uuid", system.system_uuid.clone()),
            ],
            memory: shared.machine.memory,
            swap: kernel.swap,
            disk: Room::at(&shared.config.data_dir).ok(),
            tasks: kernel.tasks,
            uplink: traffic.uplink.clone(),
            network: traffic.node.iter().map(|(name, counters)| (name.clone(), *counters)).collect(),
        }
    }

    /// A pod that runs; `None` when its groups are gone.
    fn pod(
        &self,
        shared: &Shared,
        pod: &LocalPod,
        handle: &PodHandle,
        network: Option<Counters>,
    ) -> Option<PodReading> {
        let stats =
            handle.stats().inspect_err(|error| tracing::debug!(%error, pod = %pod.uid, "no statistics"));
        let stats = stats.ok()?;
        let state = handle.watch().borrow().clone();
        let directory = directory::open(&shared.paths(&pod.uid)).ok().flatten();
        let containers = stats.containers.iter().filter_map(|(id, usage)| {
            let run = state.container(id)?;
            let ContainerStatus::Running { started_at, .. } = run.status else { return None };
            let name = ContainerName::from(run.name.as_str());
            let group = format!("{}/{id}", stats.group);
            Some(ContainerReading {
                measured: self.measured(&group, *usage),
                group,
                id: id.to_string(),
                image: run.image_ref.clone(),
                started: started_at,
                limits: resources(pod, pod.container(&name)?),
                logs: directory.as_ref().and_then(|pod| logs(pod, &name).ok()),
                name: name.to_string(),
            })
        });
        Some(PodReading {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.to_string(),
            started: pod.status.start_time.as_ref().map(|time| time.0),
            containers: containers.collect(),
            measured: self.measured(&stats.group, stats.pod),
            group: stats.group,
            limits: pod_resources(pod),
            processes: stats.processes,
            network: network.filter(|_| !pod.host_network()),
            volumes: volumes(shared, pod),
        })
    }
}

/// Bytes and number of a container's log files.
pub(crate) fn logs(pod: &Root, container: &ContainerName) -> io::Result<(u64, u64)> {
    let logs = pod.directory(Path::new(LOGS).join(container.as_str()), Follow::Nothing)?;
    let (mut bytes, mut files) = (0, 0);
    for entry in logs.entries()? {
        let entry = entry?;
        if entry.kind == Kind::File {
            bytes += logs.find(&entry.name, Follow::Nothing)?.size();
            files += 1;
        }
    }
    Ok((bytes, files))
}

/// The volumes of the pod that are measured.
fn volumes(shared: &Shared, pod: &LocalPod) -> Vec<VolumeReading> {
    let paths = shared.paths(&pod.uid);
    // Without what was written down, those of claims are left out.
    let claims = Claims::load(&paths).unwrap_or_default();
    let read = |volume: &Volume| {
        let kind = volumes::of(volume, &claims, &shared.volumes);
        let Measure { room, own } = kind.stats(&Place::new(&paths, &volume.name)).ok()??;
        let claim = claim_of(pod, volume).map(|(claim, _)| claim);
        Some(VolumeReading { name: volume.name.clone(), room, own, claim })
    };
    pod.spec.volumes.iter().flatten().filter_map(read).collect()
}
