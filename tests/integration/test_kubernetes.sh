#!/bin/sh
# test_kubernetes.sh - what `freezeline export kubernetes` writes: kubectl reads it, and each command of it runs as it
# stands, as process 1, as another user, with a root that cannot be written and without HOME
set -u
. "$(dirname "$0")/checks.sh"
freezeline=${FREEZELINE_BUILD:-$PWD/build/release}/freezeline
cp configs/demo/demo.onnx "$work"
cat >"$work/p.yaml" <<YAML
model: demo.onnx
name: My_Net
state: state
security: none
input: {mean: [128, 128, 128], std: [64, 64, 64]}
exits: [{name: block4, after: /blocks.3/Relu_1}]
stages: [{last: block4, replicas: 2}, {}]
YAML
cd "$work" || exit

exported() { "$freezeline" export kubernetes -c p.yaml --image registry.example/net:1 --to k && cat k/Containerfile; }
wants_to_know_who_may_come() {
    ! "$freezeline" export kubernetes -c p.yaml --image i:1 --to nowhere --set security=loopback 2>said &&
        grep 'pods meet over the network: write `security: curve`' said && [ ! -e nowhere ]
}
count() { # NUMBER KIND
    [ "$(grep -c "^kind: $2\$" k/manifests.yaml)" = "$1" ]
}
has_all_kinds() {
    count 1 ConfigMap && count 2 NetworkPolicy && count 4 StatefulSet && count 4 Service && count 4 PodDisruptionBudget &&
        count 2 HorizontalPodAutoscaler
}
split() { awk '/^---$/ { n++; next } n { print >sprintf("doc%02d.yaml", n) }' k/manifests.yaml && ls doc*.yaml; }
kubectl_reads_all() {
    for f in doc*.yaml; do
        kubectl label --local -f "$f" --overwrite a=b -o json >"$f.json" || return 1
    done
}
# `set env` reads a workload by Kubernetes's own types: what these do not know is not in what it prints.
kubectl_knows_each_field() {
    for f in $(grep -l '^kind: StatefulSet' doc*.yaml); do
        kubectl set env --local -f "$f" X=y -o json >typed && grep -o '"[A-Za-z]*":' "$f.json" | sort -u >untyped || return 1
        while read -r key; do
            grep -q "$key" typed || [ "$key" = '"a":' ] || {
                echo "$f: kubectl knows nothing of $key"
                return 1
            }
        done <untyped
    done
}
confined() {
    for s in 'runAsNonRoot: true' 'readOnlyRootFilesystem: true' 'allowPrivilegeEscalation: false' 'type: RuntimeDefault'; do
        for f in $(grep -l '^kind: StatefulSet' doc*.yaml); do
            grep -q "$s" "$f" || return 1
        done
    done
}
# The commands of component NAME's containers as they stand.
commands() { grep -h '^ *- "\(exec\|umask\)' "$(grep -l "^  name: my-net-$1\$" $(grep -l '^kind: StatefulSet' doc*.yaml))" | sed 's/^ *- //' | sort -r | while read -r line; do printf '%b\n' "$(echo "$line" | sed 's/^"//; s/"$//; s/\\"/"/g')"; done; }

cat >inside.sh <<'INSIDE'
# In namespaces of its own: names of pods are addresses of the loopback, paths are those of the image.
set -eu
ip link set lo up
mount -t tmpfs -o mode=755 x /opt
mkdir -p /opt/freezeline /opt/config /opt/up /opt/work
mount -t overlay -o lowerdir=/etc,upperdir=/opt/up,workdir=/opt/work x /etc
mount -t tmpfs -o mode=755 x /var/lib
mkdir /etc/freezeline /var/lib/freezeline
cp /etc/hosts hosts
n=2
for pod in broker-0.my-net-broker cache-0.my-net-cache stage0-0.my-net-stage0 stage1-0.my-net-stage1; do
    echo "127.0.0.$n my-net-$pod" >>hosts
    n=$((n + 1))
done
mount --bind hosts /etc/hosts
mount --bind k/image /opt/freezeline
sed -n '/pipeline.yaml: |/,$ { s/^    //p }' "$(grep -l '^kind: ConfigMap' doc*.yaml)" | grep -v '^pipeline.yaml' >/opt/config/pipeline.yaml
mount --bind /opt/config /etc/freezeline
mkdir -p k/image/state
mount -t tmpfs -o mode=1777 x /tmp
as_pod() { # HOSTNAME COMMAND
    unshare --pid --fork --kill-child --mount --mount-proc sh -c 'mount -t tmpfs -o uid=10001,gid=10001 x /var/lib/freezeline &&
        mount -o remount,bind,ro / && exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --inh-caps=-all \
        env -i PATH=/usr/bin:/bin HOSTNAME="$1" /bin/sh -c "$2 && $3"' sh "$1" "$2" "$3"
}
for c in broker cache stage0 stage1; do
    prepare=$(sed -n 1p commands.$c) command=$(sed -n 2p commands.$c)
    as_pod my-net-$c-0 "$prepare" "$command" >>log.$c 2>&1 &
done
ask() { /opt/freezeline/bin/freezeline "$@" -c /etc/freezeline/pipeline.yaml; }
for i in $(seq 300); do
    ask status 2>/dev/null | grep -q '^my_net: ready\|^My_Net: ready' && break
    sleep 0.2
done
ask status
/opt/freezeline/bin/freezeline generate --count 20 --output requests.bin
ask bench --no-warm-up --closed 2 --requests 20 --data cifar10:requests.bin --json | grep '"answered": 20'
INSIDE
runs() {
    for c in broker cache stage0 stage1; do commands $c >commands.$c; done
    cp -R . /dev/shm/k8s-$$ && cd /dev/shm/k8s-$$ && timeout 200 unshare --mount --net --pid --fork --kill-child --mount-proc sh inside.sh
    rc=$?
    tail -n 5 log.* 2>/dev/null
    cd "$work" && rm -rf /dev/shm/k8s-$$
    return $rc
}

# With a Redis that asks who comes: its files are in the secret, and the pods' pipeline file names them there.
brings_what_redis_wants() {
    echo s3cret >pw && "$freezeline" export kubernetes -c p.yaml --image i:1 --to kr --set redis.endpoint=redis.example:6379 \
        --set redis.password_file=pw || return 1
    sed -n 1p kr/manifests.yaml | grep "^# Its keys: kubectl create secret generic my-net-keys --from-file=redis-password='.*pw'\$" &&
        grep '^ *"* *redis:.*\|password_file' kr/manifests.yaml | grep -q '/var/lib/freezeline/keys/redis-password' &&
        grep -q 'secretName: my-net-keys' kr/manifests.yaml && ! grep -r s3cret kr/manifests.yaml
}

check "export kubernetes" exported
check "a file that does not say who may come" wants_to_know_who_may_come
check "a Redis with a password" brings_what_redis_wants
check "an object for all that a cluster needs" has_all_kinds
check "documents" split
check "pods may do little" confined
if command -v kubectl >/dev/null; then
    check "kubectl reads all" kubectl_reads_all
    check "kubectl knows each field of the workloads" kubectl_knows_each_field
else
    skipped kubectl "kubectl is not installed (apt-get install kubernetes-client)"
fi
if [ "$(id -u)" = 0 ] && unshare --mount --net --pid --fork sh -c 'mount -t tmpfs x /opt && mkdir /opt/a /opt/b &&
    mount -t overlay -o lowerdir=/etc,upperdir=/opt/a,workdir=/opt/b x /etc' 2>/dev/null; then
    check "the commands run as they stand" runs
else
    skipped commands "commands of containers need root, namespaces and overlays"
fi
finish
