"""Many tasks on a Ray cluster: each in some worker process, its small result back in the order of the tasks.

Knows nothing of slides, folds or trials: a task is a module-level function and what it is given. What a task makes it
writes itself, into a folder that every machine sees at the same path. The machines need the same version of mitosieve;
processors of different kinds may differ in a score's last digits.

`auto` means the cluster of RAY_ADDRESS, else the one that `ray start` began on this machine, else one of this machine's
own cores and GPUs that lives as long as the job. Ray is imported when it is used, not before.
"""

from mitosieve.parallel.connection import ClusterConfig, connection
from mitosieve.parallel.tasks import ClusterMap, Task, TaskResult, run_tasks

__all__ = ["ClusterConfig", "ClusterMap", "TaskResult", "Task", "connection", "run_tasks"]
