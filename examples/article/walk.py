"""The walkthrough: nginx and tomcat behind Services, step by step, with kubectl's commands, in a lab.

`Walk(lab).all()` takes every step in the lab's mode and leaves the lab as it was; `failures` has what wasn't
as it should be. `lab` runs ``kcompile lab`` (demo.py, tests/lab/test_article.py).
"""

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from kcompile import spawn
from kcompile.kernel.netns import entered

HERE = Path(__file__).resolve().parent
SPACE = "myserver"
DOMAIN = "cluster.test"
PAGE = "<%= request.getRemoteAddr() %> asked tomcat"
LOCATION = "location /myapp { proxy_pass http://%s:80; }"
CONF = "/etc/nginx/conf.d/default.conf"
SOON = 10.0  # seconds for tomcat to see a new page and compile it


class Lab(Protocol):
    """`run` gives what ``kcompile lab`` printed, `command` its command line, `objects` those of the API."""

    name: str

    def objects(self, kind: str, namespace: str) -> list[dict]: ...

    def run(self, *words: str, fails: bool = False, text: str = "") -> str: ...

    def command(self, *words: str) -> list[str]: ...


class Walk:
    def __init__(self, lab: Lab, say: Callable[[bool, str], None] = lambda _, __: None) -> None:
        self.lab, self._say = lab, say
        self.failures: list[str] = []
        (node, *_) = lab.objects("Node", "")
        self.node = node["status"]["addresses"][0]["address"]
        self.client = f"kclab.{lab.name}.client"

    def all(self) -> None:
        """Take every step; those after one that raises are left out."""
        steps = (
            self.nginx,
            self.tomcat,
            self.cluster_ip,
            self.proxy,
            self.namespaces,
            self.new_pod,
            self.new_service,
            self.logs,
            self.scaled,
            self.readiness,
        )
        try:
            for step in steps:
                step()
        except Exception as error:
            self.expect(f"{step.__name__}: {type(error).__name__}: {error}", False)
        finally:
            self.kubectl("delete", "pod", "visitor", "-n", "other", "--ignore-not-found", "--grace-period=1")
            self.kubectl("delete", "namespace", SPACE, "other", "--ignore-not-found")

    # --- the steps ---

    def nginx(self) -> None:
        """nginx.yaml declares port 443, and nobody listens there."""
        self.kubectl("create", "namespace", SPACE)
        self.kubectl("apply", "-f", str(HERE / "nginx.yaml"))
        self.rolled_out("nginx-deployment")
        pods = [line for line in self.kubectl("get", "pod", "-A").splitlines() if "nginx" in line]
        self.expect(
            "get pod -A: nginx is 1/1 Running", len(pods) == 1 and pods[0].split()[2:4] == ["1/1", "Running"]
        )
        self.expect(
            "get svc -A: 30004 and 30443", "80:30004/TCP,443:30443/TCP" in self.kubectl("get", "svc", "-A")
        )
        self.expect("NODE:30004 is nginx", "nginx" in self.get(30004, "/"))
        self.expect("NODE:30443 is refused", self.get(30443, "/") == "refused")

    def tomcat(self) -> None:
        self.kubectl("apply", "-f", str(HERE / "tomcat.yaml"))
        self.rolled_out("tomcat-deployment")
        script = f"cd webapps\nmkdir myapp\necho '{PAGE}' > myapp/index.jsp\nexit\n"
        self.lab.run("exec", "-i", self.pod("tomcat"), "bash", "-n", SPACE, text=script)
        answered = self.soon(SOON, lambda: "asked tomcat" in self.get(30005, "/myapp/"))
        self.expect("NODE:30005/myapp/ is the page written in the container", answered)

    def cluster_ip(self) -> None:
        """The NodePort commented out, and applied twice."""
        before = self.vip("tomcat-serivce")
        said = self.kubectl("apply", "-f", str(HERE / "tomcat-clusterip.yaml"))
        self.expect(
            "apply: service configured, deployment unchanged",
            "serivce configured" in said and "unchanged" in said,
        )
        again = self.kubectl("apply", "-f", str(HERE / "tomcat-clusterip.yaml"))
        self.expect("apply again: unchanged", again.count("unchanged") == 2)
        self.expect("its ClusterIP is kept", self.vip("tomcat-serivce") == before)
        self.expect("NODE:30005 is refused", self.soon(2.0, lambda: self.get(30005, "/myapp/") == "refused"))

    def proxy(self) -> None:
        """nginx in front of tomcat, by each of its names."""
        for name in ("tomcat-serivce", f"tomcat-serivce.{SPACE}", f"tomcat-serivce.{SPACE}.svc.{DOMAIN}"):
            pod = self.pod("nginx")
            edit = f"sed -i '/location .myapp/d; s|^}}|{LOCATION % name}\\n}}|' {CONF}"
            script = f"{edit}\nnginx -t\nnginx -s reload\nexit\n"
            said = self.lab.run("exec", "-i", pod, "bash", "-n", SPACE, text=script)
            self.expect(f"nginx -t with {name}", "test is successful" in said)
            answered = self.soon(3.0, lambda: "asked tomcat" in self.get(30004, "/myapp/"))
            self.expect("NODE:30004/myapp/ is tomcat's page", answered)

    def namespaces(self) -> None:
        """The short name is known in its own namespace alone."""
        self.kubectl("create", "namespace", "other")
        self.kubectl("run", "visitor", "-n", "other", "--image=busybox", "--", "sleep", "infinity")
        self.kubectl("wait", "pod/visitor", "-n", "other", "--for=condition=Ready", "--timeout=20s")
        look_up = ("exec", "visitor", "-n", "other", "--", "getent", "hosts")
        short = self.kubectl(*look_up, "tomcat-serivce", fails=True)
        self.expect(
            "from another namespace the short name is unknown", self.vip("tomcat-serivce") not in short
        )
        full = self.kubectl(*look_up, f"tomcat-serivce.{SPACE}.svc.{DOMAIN}")
        self.expect("and the full name is its ClusterIP", self.vip("tomcat-serivce") in full)

    def new_pod(self) -> None:
        before, ip = self.pod("nginx"), self.ips("nginx")
        self.kubectl("delete", "pod", before, "-n", SPACE, "--grace-period=1")
        self.rolled_out("nginx-deployment")
        self.expect("a deleted pod has a successor with another address", self.ips("nginx") != ip)
        self.expect("and the Service leads there", self.soon(2.0, lambda: "nginx" in self.get(30004, "/")))

    def new_service(self) -> None:
        before = self.vip("nginx-service")
        self.kubectl("delete", "service", "nginx-service", "-n", SPACE)
        self.expect(
            "without the Service 30004 is refused", self.soon(2.0, lambda: self.get(30004, "/") == "refused")
        )
        self.kubectl("apply", "-f", str(HERE / "nginx.yaml"))
        after = self.vip("nginx-service")
        self.expect("made again it has a new ClusterIP", before != after)
        name = f"nginx-service.{SPACE}.svc.{DOMAIN}"
        look_up = ("exec", "visitor", "-n", "other", "--", "getent", "hosts", name)
        self.expect("DNS follows", self.soon(3.0, lambda: after in self.kubectl(*look_up)))
        self.expect("and NODE:30004", self.soon(2.0, lambda: "nginx" in self.get(30004, "/")))

    def logs(self) -> None:
        command = self.lab.command("kubectl", "logs", "-f", self.pod("nginx"), "-n", SPACE)
        with spawn.popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                self.get(30004, "/?who")
                deadline = time.monotonic() + 5
                line = ""
                while "GET /?who" not in line and time.monotonic() < deadline and process.stdout:
                    line = process.stdout.readline()
            finally:
                process.kill()
        self.expect(
            "logs -f shows the client's request", f"{self.node} - - [" in line and "GET /?who" in line
        )

    def scaled(self) -> None:
        self.kubectl("scale", "deployment/nginx-deployment", "--replicas=3", "-n", SPACE)
        self.rolled_out("nginx-deployment")
        pods = self.names("nginx")
        for pod in pods:
            script = f"echo {pod} > /usr/share/nginx/html/index.html\nexit\n"
            self.lab.run("exec", "-i", pod, "bash", "-n", SPACE, text=script)
        answers = [self.get(30004, "/").strip() for _ in range(60)]
        counts = {pod: answers.count(pod) for pod in pods}
        self.expect(f"3 pods share the requests ({counts})", len(pods) == 3 and min(counts.values()) >= 6)

    def readiness(self) -> None:
        self.kubectl("apply", "-f", str(HERE / "readiness.yaml"))
        self.rolled_out("moody")
        pod = self.names("moody")[0]
        for word, there in (("touch", False), ("rm", True)):
            self.kubectl("exec", pod, "-n", SPACE, "--", word, "/busy")
            moment = time.monotonic()
            self.soon(5.0, lambda there=there: (pod in self.answering()) == there)
            seconds = time.monotonic() - moment
            what = "back in it" if there else "out of the Service"
            self.expect(f"{word} /busy: the pod is {what} after {seconds:.1f} s", seconds < 2)

    # --- what they share ---

    def kubectl(self, *words: str, fails: bool = False) -> str:
        return self.lab.run("kubectl", *words, fails=fails)

    def expect(self, what: str, holds: bool) -> None:
        self._say(holds, what)
        if not holds:
            self.failures.append(what)

    def soon(self, seconds: float, holds: Callable[[], bool]) -> bool:
        """Whether it holds within so many seconds."""
        deadline = time.monotonic() + seconds
        while not (held := holds()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return held

    def rolled_out(self, deployment: str) -> None:
        self.kubectl("rollout", "status", f"deployment/{deployment}", "-n", SPACE, "--timeout=60s")

    def get(self, port: int, path: str) -> str:
        """What the client outside gets from the first node's port, or ``refused``."""
        try:
            with entered(self.client):
                connection = http.client.HTTPConnection(self.node, port, timeout=5)
                connection.connect()
            with contextlib.closing(connection):
                connection.request("GET", path)
                return connection.getresponse().read().decode()
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return f"{type(error).__name__}: {error}"

    def answering(self) -> set[str]:
        """The pods that answer 12 requests."""
        found = set()
        for _ in range(12):
            with contextlib.suppress(ValueError):
                found.add(json.loads(self.get(30006, "/"))["pod"])
        return found

    def running(self, start: str) -> list[dict]:
        pods = [pod for pod in self.lab.objects("Pod", SPACE) if "deletionTimestamp" not in pod["metadata"]]
        return [pod for pod in pods if pod["metadata"]["name"].startswith(start)]

    def names(self, start: str) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.running(start)]

    def pod(self, start: str) -> str:
        return self.names(start)[0]

    def ips(self, start: str) -> Sequence[str]:
        return [pod["status"].get("podIP", "") for pod in self.running(start)]

    def vip(self, name: str) -> str:
        services = {
            one["metadata"]["name"]: one["spec"]["clusterIP"] for one in self.lab.objects("Service", SPACE)
        }
        return services.get(name, "")
