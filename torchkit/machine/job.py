"""Whose job this is: the CI service, cloud or cluster that runs it, by the variables it sets.

https://docs.github.com/actions/reference/workflows-and-actions/variables
https://docs.gitlab.com/ci/variables/predefined_variables/
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-environment-variables.html
https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
https://slurm.schedmd.com/sbatch.html
"""

from __future__ import annotations

from torchkit.system import System

_SERVICES = (
    ("github-actions", "GITHUB_ACTIONS"),
    ("gitlab", "GITLAB_CI"),
    ("codespaces", "CODESPACES"),
    ("fargate", "AWS_EXECUTION_ENV=AWS_ECS_FARGATE"),
    ("batch", "AWS_BATCH_JOB_ID"),
    ("ecs", "ECS_CONTAINER_METADATA_URI_V4"),
    ("ecs", "ECS_CONTAINER_METADATA_URI"),
    ("slurm", "SLURM_JOB_ID"),
    ("colab", "COLAB_RELEASE_TAG"),
    ("kaggle", "KAGGLE_KERNEL_RUN_TYPE"),
)
"""The first whose variable is there names it; `VARIABLE=VALUE` wants that value."""


def job_service(system: System) -> str | None:
    """`github-actions`, `gitlab`, `ecs`, `slurm` …; None outside one that we know."""
    for service, variable in _SERVICES:
        name, _, wanted = variable.partition("=")
        value = system.environ.get(name, "")
        if value and value.lower() != "false" and (not wanted or value == wanted):
            return service
    return None
