"""What models.dev does not tell: base URLs, colours, what keys look like, categories, and the aggregators."""

from typing import NamedTuple

BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "groq": "https://api.groq.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "xai": "https://api.x.ai/v1",
    "cohere": "https://api.cohere.ai/compatibility/v1",
    "deepinfra": "https://api.deepinfra.com/v1/openai",
    "togetherai": "https://api.together.xyz/v1",
    "perplexity": "https://api.perplexity.ai",
    "cerebras": "https://api.cerebras.ai/v1",
    "venice": "https://api.venice.ai/api/v1",
    "v0": "https://api.v0.dev/v1",
    "vercel": "https://ai-gateway.vercel.sh/v1",
    "aihubmix": "https://aihubmix.com/v1",
}
"""Where a provider is reached. Google's address is the one that speaks OpenAI's protocol."""

COLOURS = {
    "openai": "#10a37f", "anthropic": "#d97757", "google": "#4285f4", "deepseek": "#4d6bfe", "mistral": "#fa520f",
    "groq": "#f55036", "xai": "#000000", "cohere": "#39594d", "perplexity": "#20808d", "togetherai": "#0f6fff",
    "together": "#0f6fff", "fireworks-ai": "#6720ff", "fireworks": "#6720ff", "openrouter": "#6467f2",
    "cerebras": "#f15a29", "deepinfra": "#2a3275", "azure": "#0078d4", "amazon-bedrock": "#ff9900",
    "google-vertex": "#34a853", "huggingface": "#ffd21e", "nvidia": "#76b900", "github-models": "#24292f",
    "alibaba": "#ff6a00", "moonshotai": "#16191e", "zai": "#2d2d2d", "minimax": "#e73562", "fal": "#ec0648",
    "ollama-cloud": "#555555", "vercel": "#111111",
}  # fmt: skip
OTHER_COLOUR = "#6b7280"
"""The colour of every other provider."""

PLACEHOLDERS = {
    "openai": "sk-...", "anthropic": "sk-ant-...", "google": "AIza...", "deepseek": "sk-...", "groq": "gsk_...",
    "xai": "xai-...", "perplexity": "pplx-...", "openrouter": "sk-or-...", "huggingface": "hf_...",
    "nvidia": "nvapi-...", "github-models": "ghp_...", "cerebras": "csk-...", "fireworks-ai": "fw_...",
    "fireworks": "fw_...", "moonshotai": "sk-...", "alibaba": "sk-...",
}  # fmt: skip
"""What a key looks like."""

CATEGORIES = {
    "Popular": ("openai", "anthropic", "google", "deepseek", "mistral", "xai", "groq"),
    "Cloud Platforms": (
        "azure", "azure-cognitive-services", "amazon-bedrock", "google-vertex", "google-vertex-anthropic",
        "cloudflare-workers-ai", "cloudflare-ai-gateway", "digitalocean", "scaleway", "ovhcloud", "stackit", "vultr",
        "nebius", "nova",
    ),
    "Inference Providers": (
        "togetherai", "together", "fireworks-ai", "fireworks", "deepinfra", "cerebras", "novita-ai", "baseten",
        "friendli", "chutes", "inference", "huggingface", "nvidia", "io-net", "wandb", "gmicloud", "siliconflow",
        "clarifai", "fal",
    ),
    "Search & Research": ("perplexity", "perplexity-agent", "cohere", "lucidquery"),
    "Chinese Providers": (
        "alibaba", "alibaba-cn", "moonshotai", "moonshotai-cn", "zai", "zhipuai", "minimax", "minimax-cn", "stepfun",
        "xiaomi", "bailing", "iflowcn", "siliconflow-cn", "modelscope", "qiniu-ai", "drun",
    ),
    "Development Tools": (
        "github-models", "github-copilot", "gitlab", "v0", "opencode", "opencode-go", "morph", "kimi-for-coding",
        "zai-coding-plan", "zhipuai-coding-plan", "alibaba-coding-plan", "alibaba-coding-plan-cn", "poolside",
    ),
    "Aggregators & Routers": (
        "openrouter", "vercel", "llmgateway", "poe", "requesty", "aihubmix", "302ai", "helicone", "zenmux", "kilo",
        "nano-gpt", "fastrouter", "orcarouter", "merge-gateway", "abacus", "jiekou", "anyapi", "routing-run",
    ),
    "Specialized": (
        "venice", "tinfoil", "privatemode-ai", "nearai", "upstage", "inception", "sarvam", "llama", "sakana",
    ),
    "Enterprise": ("databricks", "snowflake-cortex", "sap-ai-core", "neon", "berget", "evroc"),
    "Other": ("lmstudio", "ollama-cloud", "atomic-chat", "synthetic", "submodel"),
}  # fmt: skip
"""The ids of each category of the web page."""


class Aggregator(NamedTuple):
    """A provider that sells the models of others, and takes part once a person has enabled it.

    `like` is the provider of the catalogue whose models it has; `images` are models that make images.
    """

    name: str
    base_url: str
    key_name: str
    docs_url: str
    like: str | None = None
    images: tuple[str, ...] = ()


AGGREGATORS = {
    "fal": Aggregator(
        "fal", "https://fal.run", "FAL_KEY", "https://fal.ai/docs",
        images=("fal-ai/flux/schnell", "fal-ai/flux/dev", "fal-ai/flux-pro/v1.1"),
    ),
    "together": Aggregator(
        "Together AI", "https://api.together.xyz/v1", "TOGETHER_API_KEY", "https://docs.together.ai", like="togetherai"
    ),
    "groq": Aggregator("Groq", BASE_URLS["groq"], "GROQ_API_KEY", "https://console.groq.com/docs"),
    "fireworks": Aggregator(
        "Fireworks AI", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "https://fireworks.ai/docs",
        like="fireworks-ai",
    ),
    "deepinfra": Aggregator("Deep Infra", BASE_URLS["deepinfra"], "DEEPINFRA_API_KEY", "https://deepinfra.com/docs"),
    "openrouter": Aggregator(
        "OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "https://openrouter.ai/docs"
    ),
    "perplexity": Aggregator("Perplexity", BASE_URLS["perplexity"], "PERPLEXITY_API_KEY", "https://docs.perplexity.ai"),
    "cerebras": Aggregator("Cerebras", BASE_URLS["cerebras"], "CEREBRAS_API_KEY", "https://inference-docs.cerebras.ai"),
}  # fmt: skip
"""Those that the catalogue has too are shown as it has them."""

RESERVED = frozenset({"available", "capabilities", "catalog", "categories", "list", "overrides", "providers", "sync"})
"""Words of paths where ids of providers stand: no provider has one of them as its id."""
