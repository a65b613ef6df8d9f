//! `skiff kubectl` says what kubectl says: the same command lines, with both, each in a namespace of its own, and then standard
//! output, standard error and exit code compared.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use skiff_tests::{Cluster, Kubectl, Output};

/// What one program said to each line.
fn play(cluster: &Cluster, which: Kubectl, namespace: &str, lines: &[&str]) -> Vec<String> {
    let directory = cluster.host().directory().join(namespace);
    std::fs::create_dir_all(&directory).unwrap();
    let said = |line: &&str| {
        let line = line.replace("DIR", &directory.display().to_string());
        let (what, checked) = line.strip_prefix("! ").map_or((line.as_str(), true), |line| (line, false));
        let output = cluster.kubectl(which, &format!("-n {namespace} {what}"));
        if checked { told(&line, &output, namespace, &directory.display().to_string()) } else { line }
    };
    lines.iter().map(said).collect()
}

fn told(line: &str, output: &Output, namespace: &str, directory: &str) -> String {
    let plain = |text: &str| {
        text.replace(directory, "DIR").replace(namespace, "NAMESPACE").replace("kubectl-new", "kubectl")
    };
    let line = line.replace(directory, "DIR");
    format!(
        "$ {line}\n{}--- stderr, code {:?}\n{}",
        plain(&output.stdout),
        output.code,
        plain(&output.stderr)
    )
}

/// Plays the lines with kubectl and with `skiff kubectl`, and tells of all that is different.
fn same(cluster: &Cluster, lines: &[&str]) {
    for namespace in ["space-one", "space-two"] {
        cluster.k(&format!("create namespace {namespace}"));
        cluster.k(&format!(
            "wait --for=create configmap/kube-root-ca.crt serviceaccount/default -n {namespace}"
        ));
    }
    let real = play(cluster, Kubectl::New, "space-one", lines);
    let ours = play(cluster, Kubectl::Skiff, "space-two", lines);
    let different: Vec<String> = real
        .iter()
        .zip(&ours)
        .filter(|(real, ours)| real != ours)
        .map(|(real, ours)| format!("kubectl:\n{real}\nskiff kubectl:\n{ours}\n"))
        .collect();
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), lines.len(), different.join("\n"));
}

#[test]
fn objects_are_made_alike() {
    let cluster = Cluster::empty();
    std::fs::write(cluster.host().directory().join("vars"), "A=1\n# none\nB=two words\n").unwrap();
    same(
        &cluster,
        &[
            "create deployment web --image=r.example/luksa/kubia:v1 --replicas=3 --port=8080 --dry-run=client -o yaml",
            "create deployment web --image=luksa/kubia --dry-run=client -o yaml -- sleep 1000",
            "create deployment web --image=luksa/kubia --dry-run=server",
            "create deployment web --image=luksa/kubia --replicas=0",
            "create deployment web --image=luksa/kubia",
            "create deployment web",
            "create deployment",
            "create deployment a b --image=x",
            "create deployment web --image=x --foo",
            "create deployment web --image=x -r x",
            "create deployment web --image=x --dry-run=foo",
            "create deployment Web --image=x",
            "create job once --image=luksa/kubia --dry-run=client -o yaml -- date -u",
            "create job once",
            "create cronjob often --image=luksa/kubia --schedule=@hourly --restart=Never",
            "create job now --from=cronjob/often --dry-run=client -o name",
            "create job now --from=cronjob/none",
            "create service clusterip web --tcp=80:8080 --dry-run=client -o yaml",
            "create service nodeport web --tcp=80:http",
            "create service clusterip web",
            "create service externalname far --external-name=db.example.com -o name",
            "create configmap shop --from-literal=colour=red --from-literal=size=4 --append-hash -o yaml --dry-run=client",
            "create configmap shop --from-literal=text=x:y,z -o jsonpath={.data.text}",
            "create configmap shop --from-literal=x",
            "create configmap shop --from-file=/nothere",
            "create secret generic db --from-literal=user=me --type=x/y --dry-run=client -o yaml",
            "create secret generic db --from-literal=user=me",
            "create secret generic db --from-literal=user=me",
            "create secret docker-registry pull --docker-username=u --docker-password=p --dry-run=client -o yaml",
            "create secret tls t --cert=/nothere --key=/nothere",
            "create serviceaccount robot",
            "create serviceaccount robot",
            "create role reader --verb=get,list --resource=pods,deploy,pods/log --resource-name=x --dry-run=client -o yaml",
            "create role reader --verb=get --resource=nothing",
            "create role reader --verb=get --resource=pods",
            "create role reader --verb=get --resource=pods",
            "create rolebinding robot --role=reader --serviceaccount=default:robot --user=me -o jsonpath={.subjects}",
            "create rolebinding robot --user=me",
            "create clusterrole sum --aggregation-rule=a=b --dry-run=client -o yaml",
            "create clusterrole paths --verb=get --non-resource-url=/livez --dry-run=client -o yaml",
            "create clusterrolebinding all --clusterrole=view --group=g --dry-run=client -o yaml",
            "create quota small --hard=cpu=1000m,memory=1.5Gi,pods=10 --scopes=NotBestEffort --dry-run=client -o yaml",
            "create quota small --hard=x",
            "create poddisruptionbudget web --selector=app=web --min-available=50% --dry-run=client -o yaml",
            "create poddisruptionbudget web --selector=app=web",
            "create priorityclass high --value=1000 --description=x --dry-run=client -o yaml",
            "create ingress web --rule=shop.example.com/*=web:80,tls=cert --class=c --dry-run=client -o yaml",
            "create ingress web --rule=x",
            "create token none",
            "create namespace",
            "create nonsense",
            "create -f /nothere",
            "create",
        ],
    );
}

#[test]
fn workloads_are_changed_alike() {
    let cluster = Cluster::up();
    same(
        &cluster,
        &[
            "create deployment web --image=luksa/kubia --replicas=2",
            "! rollout status deployment/web --timeout=60s",
            "rollout status deployment/web",
            "rollout status deployment/none",
            "rollout status",
            "rollout foo",
            "rollout undo deployment/web",
            "rollout history deployment/web",
            "set env deployment/web COLOUR=red",
            "set env deployment/web --list",
            "set env deployment/web",
            "set image deployment/web kubia=luksa/kubia:latest",
            "set image deployment/web other=x",
            "set image deployment/web",
            "set resources deployment/web --limits=memory=64Mi --requests=cpu=10m",
            "set resources deployment/web",
            "set serviceaccount deployment web default",
            "set selector service web a=b",
            "! rollout status deployment/web --timeout=60s",
            "get deployment web -o jsonpath={.spec.template.spec.containers[0].resources}",
            "rollout undo deployment/web --to-revision=1",
            "rollout undo deployment/web --to-revision=99",
            "! rollout status deployment/web --timeout=60s",
            "rollout pause deployment/web",
            "rollout pause deployment/web",
            "rollout restart deployment/web",
            "rollout resume deployment/web",
            "rollout resume deployment/web",
            "rollout restart service/web",
            "! rollout restart deployment/web",
            "scale deployment/web --replicas=1 --current-replicas=7",
            "scale deployment/web deployment/none --replicas=1",
            "scale deployment/web",
            "! rollout status deployment/web --timeout=60s",
            "wait deployment/web --for=condition=Available --timeout=60s",
            "wait deployment/web --for=jsonpath={.spec.replicas}=1",
            "wait deployment/web --for=condition=Nothing --timeout=1s",
            "wait deployment/none --for=delete",
            "wait deployment/none --for=condition=x",
            "wait deployment/web",
            "autoscale deployment web --min=1 --max=3 --cpu=50%",
            "autoscale deployment web --max=0",
            "autoscale deployment web --max=3 --name=h2 --memory=100Mi --dry-run=client -o yaml",
            "expose deployment web --port=80 --target-port=8080",
            "expose deployment web",
            "expose deployment none",
            "label deployment web tier=front",
            "label deployment web tier=back",
            "label deployment web tier=front",
            "label deployment web tier-",
            "label deployment web tier-",
            "label deployment web",
            "annotate deployment web why=x",
            "annotate deployment web why=y",
            "annotate deployment web why-",
            "patch deployment web -p {\"spec\":{\"minReadySeconds\":1}}",
            "patch deployment web -p {\"spec\":{\"replicas\":-1}}",
            "patch deployment web",
            "patch deployment web --type=foo -p {}",
            "run one --image=luksa/kubia --restart=Never --env=A=b",
            "run one --image=luksa/kubia",
            "run one",
            "wait pod/one --for=condition=Ready --timeout=60s",
            "exec one",
            "exec none -- true",
            "exec deployment/web -- echo hello",
            "logs none",
            "logs",
            "get pod one -o custom-columns=NAME:.metadata.name,IMAGE:.spec.containers[*].image",
            "get deployment,hpa -o name",
            "get nothing",
            "get pods none -o yaml",
            "get configmaps -o jsonpath={.items[*].metadata.name}",
            "delete pod one --now",
            "delete pod one",
            "delete pod one --ignore-not-found",
            "delete deployment",
            "delete deployment,hpa -l none=such",
            "delete deployment/web hpa/web service/web",
        ],
    );
}

#[test]
fn the_cluster_is_told_of_alike() {
    let cluster = Cluster::empty();
    same(
        &cluster,
        &[
            "api-versions",
            "api-versions x",
            "api-resources",
            "api-resources --namespaced=false -o name",
            "api-resources --api-group=apps --no-headers -o wide",
            "cluster-info",
            "auth whoami",
            "auth can-i get pods",
            "auth can-i create pods --as=nobody",
            "auth can-i get nothing",
            "auth can-i get nodes",
            "auth can-i get /livez",
            "auth can-i",
            "auth can-i --list",
            "auth can-i --list --as=system:serviceaccount:default:default",
            "config view",
            "config current-context",
            "config get-contexts",
            "config get-contexts -o name",
            "config use-context none",
            "config use-context skiff",
            "certificate approve none",
            "cordon node-1",
            "cordon node-1",
            "uncordon node-1",
            "uncordon node-1",
            "uncordon none",
            "cordon",
            "drain",
            "taint nodes node-1 a=b:PreferNoSchedule",
            "taint nodes node-1 a=c:PreferNoSchedule",
            "taint nodes node-1 a=c:PreferNoSchedule --overwrite",
            "taint nodes node-1 a-",
            "taint nodes node-1 a-",
            "taint nodes node-1 a=b:Foo",
            "taint nodes",
            "top node --sort-by=x",
            "top pod",
            "events",
            "get pods -x",
            "get --request-timeout=x pods",
        ],
    );
}

#[test]
fn a_node_is_drained_alike() {
    let cluster = Cluster::up();
    for which in [Kubectl::New, Kubectl::Skiff] {
        cluster.k("create deployment web --image=luksa/kubia");
        cluster.k("rollout status deployment/web --timeout=60s");
        cluster.k("run bare --image=luksa/kubia");
        cluster.k("wait pod/bare --for=condition=Ready --timeout=60s");
        let refused = cluster.kubectl(which, "drain node-1 --pod-selector=run=bare");
        let expected = "error: unable to drain node \"node-1\" due to error: cannot delete cannot delete Pods that declare no controller (use --force to override): default/bare, continuing command...\nThere are pending nodes to be drained:\n node-1\ncannot delete cannot delete Pods that declare no controller (use --force to override): default/bare\n";
        assert_eq!(
            (refused.stdout.as_str(), refused.stderr.as_str()),
            ("node/node-1 cordoned\n", expected),
            "{which:?}"
        );
        let drained = cluster.kubectl(which, "drain node-1 --force --grace-period=1 --pod-selector=run=bare");
        assert_eq!(
            drained.stdout,
            "node/node-1 already cordoned\nevicting pod default/bare\npod/bare evicted\nnode/node-1 drained\n",
            "{which:?}"
        );
        assert_eq!(
            drained.stderr, "Warning: deleting Pods that declare no controller: default/bare\n",
            "{which:?}"
        );
        assert_eq!(cluster.kubectl(which, "uncordon node-1").ok(), "node/node-1 uncordoned\n");
        cluster.k("delete deployment web");
    }
}
