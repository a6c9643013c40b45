"""How pyshard is built and what it needs. The metadata lives here; pyproject.toml sets up the tools."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

try:
    from Cython.Build import cythonize
except ImportError:  # built without pyproject.toml's requirements: pyshard is in plain Python then
    compiled = []
else:
    # Optional: where there is no compiler, the same is done in plain Python (pyshard/compiled/__init__.py).
    compiled = cythonize([Extension("pyshard.compiled.*", ["pyshard/compiled/*.pyx"])], build_dir="build")
    for extension in compiled:
        extension.optional = True  # `cythonize` forgets it


def files(folder: str, pattern: str) -> list[str]:
    """The files of a folder, where it is there."""
    return sorted(str(file) for file in Path(folder).glob(pattern))


readme = Path(__file__).with_name("README.md")

setup(
    name="pyshard",
    version="0.3.0",
    description="A sharded key-value store on Twisted: twistd plugins, AMP, a Deferred client and a blocking one",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    author="The pyshard authors",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Database :: Database Engines/Servers",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # "twisted.plugins" has no __init__.py here: the one module in it is installed beside Twisted's own plugins.
    packages=[*find_packages(include=["pyshard", "pyshard.*"]), "twisted.plugins"],
    package_data={
        "pyshard": ["py.typed"],
        "pyshard.compiled": ["*.pyi"],
        "pyshard.bootstrap.status_page": ["assets/*"],
    },
    ext_modules=compiled,
    # For `man pyshard`; in a virtual environment, too, once its bin/ is on the path. And what operators copy.
    data_files=[
        ("share/man/man1", files("docs/man", "*.1")),
        ("share/pyshard", files("etc", "*.json")),
        *((f"share/pyshard/{name}", files(f"etc/{name}", "*.*")) for name in ("grafana", "prometheus", "systemd")),
    ],
    install_requires=[
        "attrs>=23.2",
        "click>=8.1",
        "lmdb>=1.5",
        "msgspec>=0.19",
        "rich>=13.7",
        "twisted>=24.7",
        "zope.interface>=6",
    ],
    extras_require={
        "bench": [
            "diskcache>=5.6",
            "emcache>=1.3",
            "etcd3gw>=2.5",
            "matplotlib>=3.9",
            "pymemcache>=4",
            "redis[hiredis]>=5.1",
            "requests>=2.32",
            "txredisapi>=1.4.10",
        ],
        "examples": ["airportsdata"],
        "metrics": ["prometheus_client>=0.22"],
        "test": [
            "airportsdata",
            "celery>=5.4",
            "cython>=3.1",
            "gevent>=24.11",
            "greenlet>=3.1",
            "gunicorn>=23",
            "hypothesis>=6.100",
            "prometheus_client>=0.22",
            "pytest>=9",
            "pytest-twisted>=1.14.3",
            "pytest-xdist>=3.6",
            "setuptools>=77",
            "trustme",
            "twisted[tls]",
            "uvloop>=0.21; platform_python_implementation == 'CPython' and sys_platform != 'win32'",
        ],
        "tls": ["twisted[tls]"],
    },
    entry_points={"console_scripts": ["pyshard = pyshard.cli:main"]},
)
