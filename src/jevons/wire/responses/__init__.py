"""OpenAI Responses, as its API reference and the types of the `openai` SDK describe them."""
