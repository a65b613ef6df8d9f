//! The story: a ReplicationController, a Service in front of it, and every way of finding it.

use std::path::Path;

use anyhow::Context;

use super::stage::Stage;

/// The manifest that users would write; the repository has it as `examples/kubia/kubia.yaml`.
const MANIFEST: &str = include_str!("../../../../examples/kubia/kubia.yaml");

pub(super) fn play(stage: &Stage, image: Option<&Path>) -> anyhow::Result<()> {
    start(stage, image)?;
    create(stage)?;
    let pod = stage.ask("kubectl get pods -l app=kubia -o name | head -n 1")?;
    let pod = pod.strip_prefix("pod/").context("the story's pods are there")?.to_owned();
    let address = cluster_ip(stage)?;
    call(stage, &pod, &address)?;
    shell(stage, &pod)?;
    replace(stage, &pod, &address)?;
    let pod = stage.ask("kubectl get pods -l app=kubia -o name | tail -n 1")?;
    let pod = pod.strip_prefix("pod/").context("the story's pods are there")?.to_owned();
    find(stage, &pod)?;
    refuse(stage, &pod, &address)?;
    skiff_print::line("\nThat was the story. The cluster is taken down now, and nothing of it stays.")?;
    Ok(())
}

fn start(stage: &Stage, image: Option<&Path>) -> anyhow::Result<()> {
    stage.explain(
        "A cluster",
        "One process is API server, controllers, scheduler and node. `up` returns when pods can run.",
    )?;
    stage.show("skiff up")?;
    stage.show("kubectl get nodes")?;
    if let Some(image) = image {
        stage.explain(
            "An image",
            "This machine may not reach a registry, so the image comes from an archive.
             A loaded image is the answer for its name, whatever the pull policy says.",
        )?;
        stage.show(&format!("skiff image load {}", image.display()))?;
    }
    Ok(())
}

fn create(stage: &Stage) -> anyhow::Result<()> {
    stage.explain(
        "A ReplicationController and a Service",
        "Pods come and go, and each gets another address. The controller keeps three of them running;
         the Service gives all of them one address that stays.",
    )?;
    let file = stage.write("kubia.yaml", MANIFEST)?;
    stage.show(&format!("cat {file}"))?;
    stage.show(&format!("kubectl create -f {file}"))?;
    wait_for_three(stage)?;
    stage.show("kubectl get all")
}

/// Follows the controller's table until three pods are ready.
fn wait_for_three(stage: &Stage) -> anyhow::Result<()> {
    stage.wait_for_line("kubectl get rc kubia --watch --no-headers", |line| {
        line.split_whitespace().nth(3) == Some("3")
    })
}

fn cluster_ip(stage: &Stage) -> anyhow::Result<String> {
    let row = stage.ask("kubectl get service kubia --no-headers")?;
    row.split_whitespace().nth(2).map(str::to_owned).context("the Service has a ClusterIP")
}

fn call(stage: &Stage, pod: &str, address: &str) -> anyhow::Result<()> {
    stage.explain(
        "The ClusterIP",
        "From any pod (and from the node), the Service's address reaches one of the pods behind it.
         The two dashes end kubectl's own options: -s belongs to curl.",
    )?;
    for _ in 0..4 {
        stage.show(&format!("kubectl exec {pod} -- curl -s http://{address}"))?;
    }
    Ok(())
}

fn shell(stage: &Stage, pod: &str) -> anyhow::Result<()> {
    stage.explain(
        "A shell in a pod",
        "`kubectl exec -it POD -- bash` is a real terminal in the container. Here it runs one command.",
    )?;
    stage.show(&format!("kubectl exec {pod} -- bash -c 'id; hostname'"))
}

fn replace(stage: &Stage, pod: &str, address: &str) -> anyhow::Result<()> {
    stage
        .explain("A pod dies", "Its replacement has another name and address. The Service keeps its own.")?;
    stage.show(&format!("kubectl delete pod {pod}"))?;
    wait_for_three(stage)?;
    stage.show("kubectl get pods -o wide")?;
    stage.show(&format!("for i in 1 2 3 4 5 6; do curl -s http://{address}; done"))
}

fn find(stage: &Stage, pod: &str) -> anyhow::Result<()> {
    stage.explain(
        "How pods learn of a Service: environment variables",
        "A pod that started after the Service finds it in its environment.",
    )?;
    stage.show(&format!("kubectl exec {pod} -- env | grep -E '^(KUBIA|KUBERNETES)_SERVICE'"))?;
    stage.explain(
        "How pods learn of a Service: DNS",
        "A pod in kube-system knows every Service by name, and every pod's resolv.conf points to it.",
    )?;
    stage.show("kubectl get pods,services -n kube-system")?;
    stage.show(&format!("kubectl exec {pod} -- cat /etc/resolv.conf"))?;
    stage.show(&format!("kubectl exec {pod} -- curl -s http://kubia"))?;
    stage.show(&format!("kubectl exec {pod} -- curl -s http://kubia.default.svc.cluster.local"))
}

fn refuse(stage: &Stage, pod: &str, address: &str) -> anyhow::Result<()> {
    stage.explain(
        "A ClusterIP means something only with a port",
        "Nobody answers a ping, and says so at once. A port that the Service does not have is refused.",
    )?;
    stage.show_failing(&format!("kubectl exec {pod} -- ping -c 1 kubia"))?;
    stage.show_failing(&format!("kubectl exec {pod} -- curl -sS http://{address}:81"))
}
