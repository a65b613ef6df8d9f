//! One module for each verb, or for the verbs of one kind; here is the table of them all.

mod apply;
mod attach;
mod auth;
mod autoscale;
mod certificate;
mod config;
mod create;
mod delete;
mod describe;
mod drain;
mod events;
mod exec;
mod expose;
mod get;
mod label;
mod logs;
mod patch;
mod port_forward;
mod replace;
mod rollout;
mod run;
mod scale;
mod set;
mod taint;
mod target;
mod top;
mod version;
mod wait;

use crate::context::OPTIONS;
use crate::line::Command;

/// `kubectl` with all that it can do.
pub(crate) static KUBECTL: Command =
    Command::new("kubectl", "[flags] [options]", "kubectl speaks to a Kubernetes cluster.")
        .flags(&[OPTIONS])
        .commands(&[
            create::COMMAND,
            expose::COMMAND,
            run::COMMAND,
            set::COMMAND,
            get::COMMAND,
            delete::COMMAND,
            rollout::COMMAND,
            scale::COMMAND,
            autoscale::COMMAND,
            certificate::COMMAND,
            version::CLUSTER_INFO,
            top::COMMAND,
            drain::CORDON,
            drain::UNCORDON,
            drain::DRAIN,
            taint::COMMAND,
            describe::COMMAND,
            logs::COMMAND,
            attach::COMMAND,
            exec::COMMAND,
            port_forward::COMMAND,
            auth::COMMAND,
            events::COMMAND,
            apply::COMMAND,
            patch::COMMAND,
            replace::COMMAND,
            wait::COMMAND,
            label::LABEL,
            label::ANNOTATE,
            version::API_RESOURCES,
            version::API_VERSIONS,
            config::COMMAND,
            version::VERSION,
        ]);
