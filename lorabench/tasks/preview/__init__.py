"""What `python -m lorabench.tasks preview` shows of a task before anything is trained."""
