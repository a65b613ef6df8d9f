// What people do with Kubernetes' JavaScript client, against the cluster of the current kubeconfig.
//
// Each step is a function; all are tried, and what was wrong is told.

import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const NS = 'javascript-client';
const IMAGE = 'luksa/kubia';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

async function refused(code, call) {
    try {
        await call();
    } catch (error) {
        assert.equal(error.code, code, error);
        return error;
    }
    assert.fail('it was not refused');
}

// The first event of a watch that is the one that is waited for.
async function until(path, query, done) {
    let found;
    await new Promise((resolve, reject) => {
        new k8s.Watch(config).watch(path, query, (type, object) => {
            if (!found && done(type, object)) {
                found = object;
                resolve();
            }
        }, (error) => (found ? resolve() : reject(error ?? new Error('the watch ended')))).then((request) => {
            const end = setInterval(() => found && (clearInterval(end), request.abort()), 10);
        }, reject);
    });
    return found;
}

const isReady = (pod) => pod.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True');

class Collected extends Writable {
    text = '';
    _write(chunk, _encoding, done) {
        this.text += chunk;
        done();
    }
}

const deployment = (name) => ({
    metadata: { name, namespace: NS },
    spec: {
        replicas: 1,
        selector: { matchLabels: { app: name } },
        template: {
            metadata: { labels: { app: name } },
            spec: { containers: [{ name: 'main', image: IMAGE }] },
        },
    },
});

const steps = {
    async versions() {
        assert.equal((await config.makeApiClient(k8s.VersionApi).getCode()).major, '1');
    },
    async namespace() {
        await core.createNamespace({ body: { metadata: { name: NS } } });
        await refused(409, () => core.createNamespace({ body: { metadata: { name: NS } } }));
        await until(`/api/v1/namespaces/${NS}/serviceaccounts`, {}, (_type, object) => object.metadata.name === 'default');
    },
    async configMaps() {
        const made = await core.createNamespacedConfigMap({
            namespace: NS,
            body: { metadata: { name: 'a', labels: { n: '1' } }, data: { k: 'v' }, binaryData: { b: 'AQI=' } },
        });
        assert(made.metadata.creationTimestamp instanceof Date);
        made.data.k = 'w';
        await core.replaceNamespacedConfigMap({ name: 'a', namespace: NS, body: made });
        await refused(409, () => core.replaceNamespacedConfigMap({ name: 'a', namespace: NS, body: made }));
        const patch = [{ op: 'add', path: '/data/l', value: 'x' }];
        const patched = await core.patchNamespacedConfigMap({ name: 'a', namespace: NS, body: patch });
        assert.deepEqual(patched.data, { k: 'w', l: 'x' });
        const merged = await core.patchNamespacedConfigMap(
            { name: 'a', namespace: NS, body: { data: { l: null } } },
            k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
        );
        assert.deepEqual(merged.data, { k: 'w' });
        const applied = await core.patchNamespacedConfigMap(
            {
                name: 'applied',
                namespace: NS,
                fieldManager: 'js',
                force: true,
                body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'applied' }, data: { a: 'b' } },
            },
            k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply),
        );
        assert.equal(applied.metadata.managedFields[0].manager, 'js');
        const listed = await core.listNamespacedConfigMap({ namespace: NS, labelSelector: 'n=1' });
        assert.equal(listed.items.length, 1);
        const wrong = await refused(422, () =>
            core.createNamespacedConfigMap({ namespace: NS, body: { metadata: { name: 'Wrong_Name' } } }));
        assert.match(JSON.stringify(wrong.body), /Invalid/);
    },
    async workloads() {
        await apps.createNamespacedDeployment({ namespace: NS, body: deployment('web') });
        const path = `/apis/apps/v1/namespaces/${NS}/deployments`;
        await until(path, {}, (_type, object) => object.status?.availableReplicas === 1);
        await apps.patchNamespacedDeploymentScale(
            { name: 'web', namespace: NS, body: { spec: { replicas: 2 } } },
            k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
        );
        await until(path, {}, (_type, object) => object.status?.availableReplicas === 2);
        await apps.deleteNamespacedDeployment({ name: 'web', namespace: NS });
    },
    async informer() {
        const list = () => core.listNamespacedConfigMap({ namespace: NS });
        const informer = k8s.makeInformer(config, `/api/v1/namespaces/${NS}/configmaps`, list);
        const seen = [];
        for (const verb of ['add', 'update', 'delete']) {
            informer.on(verb, (object) => object.metadata.name === 'watched' && seen.push(verb));
        }
        await informer.start();
        const body = { metadata: { name: 'watched' } };
        const deleted = new Promise((resolve) => informer.on('delete', resolve));
        await core.createNamespacedConfigMap({ namespace: NS, body });
        await core.replaceNamespacedConfigMap({ name: 'watched', namespace: NS, body: { ...body, data: { a: 'b' } } });
        await core.deleteNamespacedConfigMap({ name: 'watched', namespace: NS });
        await deleted;
        await informer.stop();
        assert.deepEqual(seen, ['add', 'update', 'delete']);
        assert(informer.get('a', NS));
    },
    async runningPod() {
        const body = { metadata: { name: 'one', labels: { app: 'one' } }, spec: { containers: [{ name: 'main', image: IMAGE }] } };
        await core.createNamespacedPod({ namespace: NS, body });
        await until(`/api/v1/namespaces/${NS}/pods`, { fieldSelector: 'metadata.name=one' }, (_type, pod) => isReady(pod));
    },
    async logs() {
        assert.match(await core.readNamespacedPodLog({ name: 'one', namespace: NS }), /Kubia server starting/);
        const followed = new PassThrough();
        const end = await new k8s.Log(config).log(NS, 'one', 'main', followed, { follow: true });
        const [chunk] = await once(followed, 'data');
        assert.match(String(chunk), /Kubia server starting/);
        end.abort();
    },
    async execs() {
        const run = async (command, input) => {
            const [out, err] = [new Collected(), new Collected()];
            const status = await new Promise((resolve, reject) => {
                new k8s.Exec(config).exec(NS, 'one', 'main', command, out, err, input ?? null, false, resolve)
                    .then((socket) => socket.on('error', reject), reject);
            });
            return { out: out.text, err: err.text, status };
        };
        const plain = await run(['sh', '-c', 'echo out; echo err >&2']);
        assert.deepEqual([plain.out, plain.err, plain.status.status], ['out\n', 'err\n', 'Success']);
        const failed = await run(['sh', '-c', 'exit 3']);
        assert.equal(failed.status.details.causes[0].message, '3');
        const input = new PassThrough();
        input.end('echo hello\n');
        const shell = await run(['sh'], input);
        assert.equal(shell.out, 'hello\n');
    },
    async portForwards() {
        const forward = new k8s.PortForward(config);
        const server = net.createServer((socket) => forward.portForward(NS, 'one', [8080], socket, null, socket));
        await once(server.listen(0, '127.0.0.1'), 'listening');
        const answer = await fetch(`http://127.0.0.1:${server.address().port}`, { headers: { connection: 'close' } });
        assert.match(await answer.text(), /You've hit one/);
        server.close();
    },
    async objects() {
        const client = k8s.KubernetesObjectApi.makeApiClient(config);
        const spec = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'object', namespace: NS }, data: { a: 'b' } };
        await client.create(spec);
        const read = await client.read(spec);
        assert.equal(read.data.a, 'b');
        const patched = await client.patch({ ...spec, data: { c: 'd' } }, undefined, undefined, 'js', undefined, k8s.PatchStrategy.MergePatch);
        assert.deepEqual(patched.data, { a: 'b', c: 'd' });
        const applied = await client.patch({ ...spec, data: { e: 'f' } }, undefined, undefined, 'js-apply', true, k8s.PatchStrategy.ServerSideApply);
        assert.deepEqual(applied.data, { a: 'b', c: 'd', e: 'f' });
        assert((await client.list('v1', 'ConfigMap', NS)).items.some((one) => one.metadata.name === 'object'));
        await client.delete(spec);
        await refused(404, () => client.read(spec));
    },
    async customObjects() {
        const [group, version, plural] = ['stable.example.com', 'v1', 'crontabs'];
        const extensions = config.makeApiClient(k8s.ApiextensionsV1Api);
        const name = `${plural}.${group}`;
        const schema = { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties: { replicas: { type: 'integer', minimum: 1 } } } } } };
        await extensions.createCustomResourceDefinition({
            body: {
                metadata: { name },
                spec: { group, scope: 'Namespaced', names: { plural, kind: 'CronTab' }, versions: [{ name: version, served: true, storage: true, schema }] },
            },
        });
        await until('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {}, (_type, object) =>
            object.metadata.name === name && object.status?.conditions?.some((one) => one.type === 'Established' && one.status === 'True'));
        const custom = config.makeApiClient(k8s.CustomObjectsApi);
        const place = { group, version, namespace: NS, plural };
        const body = { apiVersion: `${group}/${version}`, kind: 'CronTab', metadata: { name: 'x' }, spec: { replicas: 2 } };
        await custom.createNamespacedCustomObject({ ...place, body });
        await refused(422, () => custom.createNamespacedCustomObject({ ...place, body: { ...body, metadata: { name: 'y' }, spec: { replicas: 0 } } }));
        const patched = await custom.patchNamespacedCustomObject(
            { ...place, name: 'x', body: [{ op: 'replace', path: '/spec/replicas', value: 3 }] });
        assert.equal(patched.spec.replicas, 3);
        assert.equal((await custom.listNamespacedCustomObject(place)).items.length, 1);
        await extensions.deleteCustomResourceDefinition({ name });
    },
    async rights() {
        const review = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({
            body: { spec: { resourceAttributes: { verb: 'list', resource: 'secrets', namespace: NS } } },
        });
        assert.equal(review.status.allowed, true);
    },
    async metrics() {
        const nodes = await new k8s.Metrics(config).getNodeMetrics();
        assert(nodes.items.length <= 1);
    },
    async end() {
        await core.deleteNamespace({ name: NS });
        await until('/api/v1/namespaces', { fieldSelector: `metadata.name=${NS}` }, (type) => type === 'DELETED');
    },
};

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
    const began = performance.now();
    try {
        await step();
        console.log(`ok   ${name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
        // Whatever it is: it is told, and the next step is tried.
        failed += 1;
        console.log(`FAIL ${name}:`, error);
    }
}
process.exit(failed ? 1 : 0);
