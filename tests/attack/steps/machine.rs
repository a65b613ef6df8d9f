//! The cluster that is killed: which processes it is made of, and who starts them again.

use std::process::{Child, Stdio};
use std::time::Duration;

use skiff_tests::{Cluster, Output, program};

/// Which processes a cluster is made of, besides supervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One server, with the node agent in it.
    Together,
    /// A server and an agent.
    Apart,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The server, and the agent with it where they are one.
    Server,
    /// The agent alone.
    Agent,
    /// The newest supervisor of a pod: of the one that is worked on, most of the time.
    Supervisor,
    /// The newest supervisor and whoever would give it a successor.
    SupervisorAndAgent,
}

/// A cluster whose server and agent are started again whenever they end, as by an init system.
pub(crate) struct Machine {
    pub(crate) cluster: Cluster,
    pub(crate) shape: Shape,
    loops: Vec<Child>,
}

/// While this file is there, nothing that ended is started again.
const HOLD: &str = "hold";
const STOP: &str = "stop";

/// Keeps a part of the cluster running, and its process id in a file.
const KEEP: &str = r#"
    while ! [ -e stop ]; do
        while [ -e hold ] && ! [ -e stop ]; do sleep 0.02; done
        "$SKIFF" "$@" </dev/null >/dev/null 2>>"$1.log" &
        echo $! >"$1.pid"
        wait $!
    done"#;

impl Machine {
    /// Starts one, with the image of the workloads; everything of its own runs when this returns.
    pub(crate) fn start(shape: Shape) -> Self {
        const SERVER: &str = "server --node-name node-1";
        let parts: &[&str] = match shape {
            Shape::Together => &[SERVER],
            Shape::Apart => &["server --without-agent --node-name node-1", "agent --node-name node-1"],
        };
        let cluster = Cluster::stopped();
        let keep = |part: &&str| {
            let mut command = cluster.command("bash");
            command.args(["-c", KEEP, "keep"]).args(part.split(' '));
            // It has to say of each process how it ended.
            command.stdin(Stdio::null()).stderr(Stdio::null());
            command.env("SKIFF", program("SKIFF_TEST_BINARY")).spawn().unwrap()
        };
        let loops = parts.iter().map(keep).collect();
        let machine = Self { cluster, shape, loops };
        let ready = "for i in {1..600}; do [ -s kubeconfig ] && curl -sk https://127.0.0.1:6443/readyz && exit 0; sleep 0.05; done; exit 1";
        machine.cluster.sh(ready).ok();
        machine.cluster.k("wait node/node-1 --for=create --timeout=60s");
        machine.cluster.k("wait node/node-1 --for=condition=Ready --timeout=60s");
        machine.cluster.skiff(["image", "load", &program("SKIFF_TEST_IMAGE").to_string_lossy()]).ok();
        machine
            .cluster
            .k("wait -n kube-system rc --all --timeout=60s --for=jsonpath={.status.readyReplicas}=1");
        machine
    }

    /// A shell that kills when it reads a line. Whom it finds out then, for supervisors come and go.
    pub(crate) fn gun(&self, victim: Victim) -> Child {
        let agent = match self.shape {
            Shape::Together => "server",
            Shape::Apart => "agent",
        };
        // Not that of the DNS pod, which came first.
        let supervisor =
            "ps -eo pid=,args= --sort=start_time | grep '[p]od-supervisor' | tail -n +2 | tail -n 1";
        let of = |part: &str| format!("read -r pid <{part}.pid; kill -9 $pid");
        let supervisor = format!("read -r pid rest < <({supervisor}) && kill -9 $pid");
        let kill = match victim {
            Victim::Server => of("server"),
            Victim::Agent => of(agent),
            Victim::Supervisor => supervisor,
            Victim::SupervisorAndAgent => format!("{}; {supervisor}", of(agent)),
        };
        let mut shell = self.cluster.shell(&format!("read -r || exit 0; {kill}; echo done"));
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Whether the API ends with whom is killed.
    pub(crate) fn is_server(&self, victim: Victim) -> bool {
        match victim {
            Victim::Server => true,
            Victim::Supervisor => false,
            Victim::Agent | Victim::SupervisorAndAgent => self.shape == Shape::Together,
        }
    }

    /// From now on what ends stays so.
    pub(crate) fn hold(&self) {
        std::fs::write(self.cluster.host().directory().join(HOLD), "").unwrap();
    }

    /// What has ended is started again.
    pub(crate) fn release(&self) {
        drop(std::fs::remove_file(self.cluster.host().directory().join(HOLD)));
    }

    /// Runs kubectl once.
    pub(crate) fn kubectl(&self, arguments: &str) -> Output {
        self.cluster.kubectl(skiff_tests::Kubectl::New, &format!("--request-timeout=20s {arguments}"))
    }

    /// Runs kubectl until it succeeds, which takes as long as the server needs to come back.
    pub(crate) fn insist(&self, arguments: &str) -> String {
        let mut tried = Vec::new();
        for _ in 0..300 {
            let output = self.kubectl(arguments);
            if output.code == Some(0) {
                return output.stdout;
            }
            tried.push(output.to_string());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("never succeeded, at last: {}", tried.pop().unwrap());
    }

    /// Ends it in order.
    pub(crate) fn end(mut self) {
        self.stop();
        let processes = self.cluster.host().processes();
        assert_eq!(processes, Vec::<String>::new(), "skiff down ends everything");
        assert!(!self.cluster.data_dir().exists() && !self.cluster.run_dir().exists(), "and removes its own");
    }

    fn stop(&mut self) {
        std::fs::write(self.cluster.host().directory().join(STOP), "").unwrap();
        let down = self.cluster.skiff(["down", "--purge"]);
        if down.code != Some(0) {
            eprintln!("{down}");
        }
        for mut part in self.loops.drain(..) {
            part.wait().unwrap();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what =
                "get deployments,replicasets,statefulsets,jobs,pods,pvc,pv,namespaces,events -A -o wide";
            eprintln!("{}", self.kubectl(what));
        }
        self.stop();
    }
}
