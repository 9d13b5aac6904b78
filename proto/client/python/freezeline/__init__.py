"""Client of a Freezeline pipeline over HTTP (Open Inference Protocol, KServe V2)."""
from ._client import Answer, AsyncClient, Client, Feedback, FreezelineError, Model, Stage, Tensor

__all__ = ["Answer", "AsyncClient", "Client", "Feedback", "FreezelineError", "Model", "Stage", "Tensor"]
__version__ = "0.1.0"
