"""From outside to the host of the test internet, with everything that its user needs within reach."""
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "internet"))
import namespaces  # noqa: E402

SKIPPED = 77


def needed(name):
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"{name} is not set; run this through ctest")
    return pathlib.Path(value).resolve()


def prepare_cache(cache, image, program):
    """A kernel, made where a network or the distribution's package is; the namespaces have neither."""
    if list((cache / "cleanroom").glob("**/vmlinux")):
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cleanroom-bypass.") as folder:
        for name in ("config", "run"):
            os.mkdir(f"{folder}/{name}")
        keys = {"CONFIG_HOME": "config", "STATE_HOME": "state", "RUNTIME_DIR": "run"}
        environment = {**os.environ, **{f"XDG_{key}": f"{folder}/{value}" for key, value in keys.items()}}
        environment |= {"XDG_CACHE_HOME": str(cache), "HOME": folder, "CLEANROOM_HOST": f"unix://{folder}/run/socket"}
        words = [program, "serve", "--listen", environment["CLEANROOM_HOST"]]
        with open(f"{folder}/log", "wb") as log:
            daemon = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=log)
            daemon.stdout.readline()
            cli = lambda *a: subprocess.run([program, *a], env=environment, check=True, stdout=subprocess.PIPE, cwd=folder).stdout
            try:
                reference = cli("image", "import", "cleanroom.test/debian:base", image).decode().strip()
                cli("exec", "--rm", "--image", reference, "-n", "--", "true")
            finally:
                daemon.terminate()
                daemon.wait()


def enter(user, program, arguments):
    """Runs the Python program on the internet's host, as the user; its exit code, or 77 after saying why it cannot."""
    why = namespaces.obstacle(user)
    if why:
        print(f"{program.name}: SKIPPED as {user}: {why}")
        return SKIPPED
    binaries, image, cache = (needed(f"CLEANROOM_{name}") for name in ("BIN", "TEST_IMAGE", "TEST_CACHE"))
    prepare_cache(cache, image, binaries / "cleanroom")
    if user == "user" and os.geteuid() == 0:
        # What root's runs made is not this user's to write.
        users = cache.with_name(cache.name + "-user")
        if not users.exists():
            owner = f"{namespaces.ORDINARY_USER}:{namespaces.ORDINARY_USER}"
            subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", cache, users], check=True)
            subprocess.run(["chown", "-R", owner, users], check=True)
        cache = users
    os.environ |= {"CLEANROOM_BIN": str(binaries), "CLEANROOM_TEST_IMAGE": str(image)}
    os.environ["CLEANROOM_TEST_CACHE"] = str(cache)
    return namespaces.run(user, [namespaces.PYTHON, program, *arguments], [program.parent, binaries, image.parent, cache])
